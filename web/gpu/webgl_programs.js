/** Programs of a WebGL2 context: a fragment shader over the whole viewport. */
import { HanselError } from '../core/errors.js';
import { GLSL, joinGlsl, namesOf, readShader } from './shaders.js';

/** @typedef {{program: WebGLProgram, places: Map<string, WebGLUniformLocation | null>}} Program */

/**
 * Compiles a program, without blocking the thread where the browser can.
 * @param {WebGL2RenderingContext} gl
 * @param {keyof typeof GLSL | import('./shaders.js').Program} which a name, or one of your own
 * @param {Record<string, number>} defines
 * @param {() => void} checkLost throws when the context is gone
 * @returns {Promise<Program>}
 * @throws {HanselError} HANSEL_ERR_SHADER with the compiler's log, HANSEL_ERR_SOURCE
 */
export async function compileProgram(gl, which, defines, checkLost) {
  const { files } = typeof which === 'object' ? which : GLSL[which];
  const [vertex, { code, explain }] = await Promise.all([
    readShader('fullscreen.vert.glsl'), joinGlsl(files, defines)]);
  checkLost();
  const program = gl.createProgram();
  const sources = /** @type {const} */ ([[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, code]]);
  const shaders = sources.map(([kind, source]) => {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    return shader;
  });
  gl.linkProgram(program);
  const parallel = gl.getExtension('KHR_parallel_shader_compile');
  while (parallel && !gl.getProgramParameter(program, parallel.COMPLETION_STATUS_KHR)) {
    checkLost();
    await new Promise((resolve) => { setTimeout(resolve, 1); });
  }
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    checkLost();
    const log = [...shaders.map((shader) => gl.getShaderInfoLog(shader)),
      gl.getProgramInfoLog(program)].filter(Boolean).join('\n');
    throw new HanselError('HANSEL_ERR_SHADER', 'the shader was not accepted', {
      where: typeof which === 'object' ? namesOf(files) : which, got: explain(log),
    });
  }
  for (const shader of shaders) gl.deleteShader(shader);
  return { program, places: new Map() };
}
