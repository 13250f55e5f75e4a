// prototype.wgsl - what the decoder is compared with: the plain branch-free way to decode a quad.
// Three u32s are loaded for each step, which hold all words that it can use; prefix sums tell each
// lane which is its own; one u32 is stored. No tail (a step or two of each stream), no checks.

override group_size: u32 = 64u;

struct Prototype {
    stream_count: u32,
    full_steps: u32, // of each stream, without its tail
    row_steps: u32,  // of each stream
}

@group(0) @binding(0) var<uniform> prototype: Prototype;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> cursors: array<u32>;
@group(0) @binding(3) var<storage, read> slots: array<u32>; // symbol << 24 | bias << 12 | freq
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

var<workgroup> table: array<u32, 4096>;

@compute @workgroup_size(group_size)
fn decode_prototype(@builtin(workgroup_id) group: vec3<u32>,
                    @builtin(local_invocation_index) invocation: u32) {
    for (var slot = invocation; slot < 4096u; slot += group_size) {
        table[slot] = slots[slot];
    }
    workgroupBarrier();
    let stream = group.x * group_size + invocation;
    if (stream >= prototype.stream_count) {
        return;
    }
    var cursor = cursors[stream];
    let first = cursor >> 1u;
    var x = vec4(words[first], words[first + 1u], words[first + 2u], words[first + 3u]);
    if ((cursor & 1u) != 0u) {
        let next = vec4(x.yzw, words[first + 4u]);
        x = (x >> vec4(16u)) | (next << vec4(16u));
    }
    cursor += 8u;
    let start = stream * prototype.row_steps;
    for (var i = 0u; i < prototype.full_steps; i++) {
        let entry = vec4(table[x.x & 4095u], table[x.y & 4095u], table[x.z & 4095u],
            table[x.w & 4095u]);
        x = (entry & vec4(4095u)) * (x >> vec4(12u)) + ((entry >> vec4(12u)) & vec4(4095u));
        dst[start + i] = (entry.x >> 24u) | ((entry.y >> 16u) & 0xFF00u) |
            ((entry.z >> 8u) & 0xFF0000u) | (entry.w & 0xFF000000u);
        let at = cursor >> 1u;
        let a = words[at];
        let b = words[at + 1u];
        let c = words[at + 2u];
        let odd = (cursor & 1u) != 0u;
        let low = select(a, (a >> 16u) | (b << 16u), odd);
        let high = select(b, (b >> 16u) | (c << 16u), odd);
        let need = x < vec4(65536u);
        let bits = select(vec4(0u), vec4(16u), need);
        let before_2 = bits.x + bits.y;
        let before_3 = before_2 + bits.z;
        let word_2 = select(low >> (before_2 & 31u), high, before_2 == 32u);
        let word_3 = select(low >> (before_3 & 31u), high >> (before_3 & 31u), before_3 >= 32u);
        let word = vec4(low, low >> bits.x, word_2, word_3) & vec4(0xFFFFu);
        x = select(x, (x << vec4(16u)) | word, need);
        cursor += (before_3 + bits.w) >> 4u;
    }
}
