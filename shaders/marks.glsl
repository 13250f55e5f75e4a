// marks.glsl - where streams of prefix codes can be entered: the bit at which each sixteenth of a
// run begins, 16 bits a mark, eight to a texel. marks.frag.glsl leaves them, stream after stream of
// a run. Goes after streams_prefix.glsl, and before unpack.frag.glsl.

uniform uint mark_quads; // of columns, from mark to mark
uniform usampler2D marks_0;
uniform usampler2D marks_1;

// Begins before quad `local` of a run's columns.
void seek(uint quad, uint run, uint local) {
    begin_stream(quad, run);
    uint index = local / mark_quads;
    ivec2 place = texel_place(run * stream_quads() + quad);
    uvec4 eight = index < 8u ? texelFetch(marks_0, place, 0) : texelFetch(marks_1, place, 0);
    uint mark = (eight[(index >> 1) & 3u] >> (16u * (index & 1u))) & 0xFFFFu;
    used = mark & 127u;
    at += ((mark >> 7) - 1u) * stride; // begin_stream() went on to the second unit
    load_window();
    for (uint skipped = index * mark_quads; skipped < local; skipped++) {
        next_quad();
    }
}
