// checksum.wgsl - one number per stream of decoded symbols, to compare with a reference without
// reading them back: FNV-1a, a quad (u32) at a time (G. Fowler, L. C. Noll, K.-P. Vo).

override group_size: u32 = 64u;

struct Checksums {
    stream_count: u32,
    group_columns: u32,
}

@group(0) @binding(0) var<uniform> checksums: Checksums;
@group(0) @binding(1) var<storage, read> symbols: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>; // stream_count + 1, in quads
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(group_size)
fn checksum_streams(@builtin(workgroup_id) group: vec3<u32>,
                    @builtin(local_invocation_index) invocation: u32) {
    let i = (group.y * checksums.group_columns + group.x) * group_size + invocation;
    if (i >= checksums.stream_count) {
        return;
    }
    var sum = 2166136261u;
    for (var at = starts[i]; at < starts[i + 1u]; at++) {
        sum = (sum ^ symbols[at]) * 16777619u;
    }
    dst[i] = sum;
}
