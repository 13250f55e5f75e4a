// marks.frag.glsl - leaves what marks.glsl reads. One fragment reads one stream. Goes after
// streams_prefix.glsl.

uniform uint mark_quads;

layout(location = 0) out uvec4 dst0; // the first eight marks
layout(location = 1) out uvec4 dst1;

void main() {
    uint i = fragment_texel();
    uint run = i / stream_quads();
    if (run >= streams.run_count) {
        discard;
        return;
    }
    begin_stream(i - run * stream_quads(), run);
    uint local = 0u;
    uint end = min(streams.run_quads, row_quads() - run * streams.run_quads);
    dst0 = dst1 = uvec4(0u);
    for (uint mark = 0u; mark < 16u; mark++) {
        dst0 = (dst0 >> 16) | (uvec4(dst0.yzw, dst1.x) << 16);
        dst1 = (dst1 >> 16) | (uvec4(dst1.yzw, passed) << 16);
        for (uint mark_end = min(local + mark_quads, end); local < mark_end; local++) {
            next_quad();
        }
    }
}
