#version 300 es
// fullscreen.vert.glsl - one triangle over the whole viewport, without vertex data: draw three.

void main() {
    gl_Position = vec4(ivec2(gl_VertexID & 1, gl_VertexID >> 1) * 4 - 1, 0, 1);
}
