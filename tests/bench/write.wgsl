// write.wgsl - stores as many bytes as a decoder does, and nothing else: its upper bound.

override group_size: u32 = 64u;

struct Write {
    quad_count: u32,
    invocations: u32,
}

@group(0) @binding(0) var<uniform> write: Write;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<u32>>;

@compute @workgroup_size(group_size)
fn write_quads(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var i = id.x; i < write.quad_count; i += write.invocations) {
        dst[i] = vec4(i);
    }
}
