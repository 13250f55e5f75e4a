// texels.glsl - textures as arrays, in rows of 2^WIDTH_LOG2 texels, and precisions. Goes before
// every fragment shader of this folder. Those return after `discard`, since Metal would go on.

precision highp int;
precision highp float;
precision highp usampler2D;
precision highp usampler2DArray;

#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

// Where element `index` of an array lies.
ivec2 texel_place(uint index) {
    return ivec2(index & ((1u << WIDTH_LOG2) - 1u), index >> WIDTH_LOG2);
}

// The element that this fragment is, of an array that is drawn on.
uint fragment_texel() {
    return (uint(gl_FragCoord.y) << WIDTH_LOG2) + uint(gl_FragCoord.x);
}
