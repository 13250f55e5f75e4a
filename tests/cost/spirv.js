/**
 * node spirv.js: reads a JSON list of [program, constants] from standard input, and lets Dawn compile
 * them. Dawn itself prints the SPIR-V, in this order: isa.js reads it. A process of its own, since what
 * Dawn prints is the process's.
 */
import { text } from 'node:stream/consumers';
import { WGSL, joinWgsl, wgslFiles } from '../../web/gpu/shaders.js';
import { openDawn } from '../gpu/dawn.js';

const kernels = JSON.parse(await text(process.stdin));
const { gpu, adapter } = await openDawn({ options: ['enable-dawn-features=dump_shaders'] });
const device = await adapter.requestDevice();
for (const [program, constants] of kernels) {
  const { code } = await joinWgsl(wgslFiles(program, true));
  await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }), entryPoint: WGSL[program].entries[0], constants },
  });
}
await new Promise((resolve) => { setTimeout(resolve, 300); }); // what is printed comes later
device.destroy();
console.log(gpu.wgslLanguageFeatures.size);
