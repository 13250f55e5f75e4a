export class WebGlOps {}
