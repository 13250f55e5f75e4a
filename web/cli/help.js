/** What hansel --help prints. */
export const HELP = `hansel - entropy-coded neural-network weights

  hansel encode IN [-o OUT] [--step D | --bits B | --error E | --lossless]
         [--each] [--tensor NAME=AIM]... [--saturate] [--include RE]
         [--exclude RE] [--hessians FILE] [--plan FILE] [--bytes]
         [--stream-length S] [--precision P] [--threads N] [--force] [--quiet]
         [--json]
  hansel calibrate MODEL [-o FILE] [--text FILE | --tokens FILE] [--samples N]
         [--seed S] [--config FILE] [--force] [--quiet] [--json]   (Llamas)
  hansel plan   IN... -o FILE [--bits B] [--each] [--tensor NAME=AIM]...
         [--include RE] [--exclude RE] [--hessians FILE] [--stream-length S]
         [--precision P] [--threads N] [--force] [--quiet] [--json]
  hansel decode IN [-o OUT] [--dtype T] [--max-size M] [--threads N]
         [--force] [--quiet] [--json]
  hansel info   IN... [--json]
  hansel verify IN... [--against ORIGINAL] [--threads N] [--quiet] [--json]
  hansel sample OUT [--rows N] [--force] [--quiet] [--json]   (235 MB)
  hansel serve  [DIR] [--port P] [--host H] [--allow-host NAME]... [--quiet]
  hansel assets DIR [--quiet] [--json]   (wasm modules and worker, for pages;
         those that are there are replaced)
  hansel service-worker DIR [--quiet] [--json]   (hansel-sw.js, for pages that
         cannot be changed: docs/RUNTIMES.md)
  hansel --version

IN is a safetensors file, a model.safetensors.index.json (with its shards), an
ONNX model (with its external data), a GGUF file (with its splits), an http(s)
URL, or - for standard input (either takes -o); OUT a file, or - for standard
output. decode gives back the file that was coded: byte for byte if that was
without loss, else with other values in the same places.

  --step D           grid step, the same for all tensors (1/52 is understood)
  --bits B           coded bits per weight to stay below, all tensors together:
                     those get more where it does most good
  --each             with --bits: each tensor stays below them
  --error E          relative RMS error to stay below: coarsest step that does
  --lossless         no loss; the default
  --saturate         with --step: clamp, and count, what 256 levels do not hold
  --tensor NAME=AIM  of that tensor alone, or of all whose names NAME (a regular
                     expression) fits: 4, step:1/52, error:0.1, lossless, keep
  --include RE       code only tensors whose name matches (a regular expression)
  --exclude RE       pass through tensors whose name matches
  --hessians FILE    of hansel calibrate: makes up for what rounding loses, so a
                     model takes a fifth less for the same answers
  --plan FILE        of hansel plan: steps of a rate that shards share which are
                     coded apart (docs/SHARDS.md). Without --bits it writes what
                     it measured of IN; such files may be its IN
  --bytes            code any file as bytes, without loss
  --stream-length S  symbols per stream, about (default: 1024 to 16384)
  --precision P      bits of probability, 8 to 12 (default: the cheapest)
  --threads N        threads at work (default: all cores); same bytes always
  --text FILE        what calibrate reads (default: what the model writes)
  --tokens FILE      likewise, as JSON: lists of token ids
  --samples N        sequences of 128 tokens (default: 48)
  --seed S           of what the model writes (default: 1)
  --config FILE      of the model (default: config.json beside it)
  --dtype T          decode to F32, F16, BF16, or I8: the grid indices
  --max-size M       bytes to decode to at most: 5000000, 200M, 8G, 1T (default:
                     1000 times IN, or 1G if that is more)
  --force            replace OUT; a link itself, not the file that it leads to
  --allow-host NAME  answer requests for this host name too, besides addresses,
                     localhost and H (pages elsewhere could bring theirs here)
  --quiet            no progress, no summary
  --json             the result as JSON on standard output, of info and verify
                     a line for each file; an error is
                     {"error":{"code","message","expected","got","where"}}

Exit status: 0 success, 1 bad data or what cannot be read or written, 2 wrong
usage, 128 + N stopped by signal N (Ctrl-C: 130).`;
