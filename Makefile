# Hansel. `make demo` runs the main job, `make test` passes the tests; both set up
# a fresh Debian 12 machine first. `make help` lists the rest.

CC = gcc
CFLAGS = -O3 -g
WARNINGS = -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow -Werror
# Two roundings never become one: bytes must not depend on the machine.
STRICT = -ffp-contract=off
EMCC = emcc

CORE = partition crc32c head levels values frequencies window search plan fold encode encoder feedback \
       encode_blob write_head \
       hansel variant decode decode_blob decode_group decode_wasm decode_sse_neon decode_avx2 matvec prefix planes
SOURCES = $(CORE:%=src/%.c)
HEADERS = src/hansel.h src/hansel_slices.h src/format.h src/internal.h src/decoder.h

# The wasm interface: web/core/codec.js calls these and nothing else; memory from __heap_base on is
# its own. hansel.wasm encodes, and decodes to symbols; decode.wasm, all that a page needs to read,
# decodes to values too and multiplies.
DECODE_EXPORTS = read_head build_table read_cursors stream_start decode_streams crc32c \
                 crc32c_combine
VALUE_EXPORTS = dequantize expand_raw join matvec matvec_i8 widen
ENCODE_EXPORTS = encoder_begin encoder_next scan window_count fine_counts quantize split pack_raw histogram \
                 fold encode_bound encode_streams write_head \
                 feedback_gather feedback_mean feedback_floats feedback_work feedback_begin feedback_factor feedback_rows
# For GPUs: weights to what their memory holds. web/core/recoder.js calls it.
RECODE_EXPORTS = prefix_fit prefix_table prefix_bound prefix_block pack_fit pack_block
# Tensors as several matrices: web/core/planes.js.
PLANE_EXPORTS = get_field put_field add_base subtract_base row_counts classify
WASM_LINK = -Oz -s STANDALONE_WASM=1 --no-entry -s ALLOW_MEMORY_GROWTH=1 -s MAXIMUM_MEMORY=4GB \
            -s INITIAL_MEMORY=1MB -s TOTAL_STACK=131072 -Wl,--export=__heap_base

# Small, except where speed shows in docs/BENCHMARKS.md: loops of values.c as vectors, but not
# unrolled; no vectors for loops that are quicker without.
WASM_OPT = -Oz
WASM_OPT_scalar_crc32c = -O2
WASM_OPT_decode = -O3
WASM_OPT_simd_decode = -Oz
WASM_OPT_decode_wasm = -O3
WASM_OPT_feedback = -O2 -fno-vectorize -fno-slp-vectorize
WASM_OPT_fold = -O2
WASM_OPT_encode = -O3 -fno-vectorize -fno-slp-vectorize
WASM_OPT_matvec = -O3 -fno-vectorize
WASM_OPT_prefix = -O2
WASM_OPT_window = -O2 -fno-vectorize -fno-unroll-loops
WASM_OPT_values = -O2 -finline-hint-functions -fno-unroll-loops -mllvm -force-vector-interleave=1
wasm_opt = $(or $(WASM_OPT_$(1)_$(2)),$(WASM_OPT_$(2)),$(WASM_OPT))

# Not npx tsc: the last TypeScript 5, which tests compile with, has that name too.
TSC = node node_modules/typescript/bin/tsc

WEB = $(wildcard web/*.js web/*/*.js web/*/*/*.js)

MODULES = dist/hansel.wasm dist/hansel_simd.wasm dist/decode.wasm dist/decode_simd.wasm \
          dist/recode.wasm dist/planes.wasm

.PHONY: all help build package site setup demo lint format check test bundlers bench eval gpu-cost fuzz vectors \
        structs clean
all: build

help: ## this list
	@echo 'make TARGET, build by default:'
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Half of that: what npm packs.
package: setup
	@$(MAKE) --no-print-directory $(MODULES) dist/types/hansel.d.ts min/hansel.js dist/wgsl.js dist/parsers.js

# A sub-make, so that what setup installs is there when make looks.
build: setup ## all that is built; quick when nothing changed
	@$(MAKE) --no-print-directory products

.PHONY: products
products: build/structs.checked $(MODULES) dist/types/hansel.d.ts min/hansel.js build/libhansel.a \
          dist/site/index.html dist/wgsl.js dist/parsers.js

setup:
	@.ci/setup

build/%.o: src/%.c $(HEADERS) Makefile
	@mkdir -p build
	$(CC) $(CFLAGS) $(WARNINGS) $(STRICT) -c $< -o $@

build/libhansel.a: $(CORE:%=build/%.o)
	rm -f $@
	ar rcs $@ $^

# $(1): suffix of the variant, $(2): its name, $(3): its flags
define WASM_RULES
build/wasm$(1)/%.o: src/%.c $$(HEADERS) Makefile
	@mkdir -p build/wasm$(1)
	$$(EMCC) $$(call wasm_opt,$(2),$$*) -std=c11 -Wall -Wextra -Werror $$(STRICT) $(3) -c $$< -o $$@

dist/hansel$(1).wasm: $$(CORE:%=build/wasm$(1)/%.o)
	@mkdir -p dist
	$$(EMCC) $(3) $$^ $$(WASM_LINK) $$(DECODE_EXPORTS:%=-Wl,--export=hansel_%) \
	    $$(ENCODE_EXPORTS:%=-Wl,--export=hansel_%) -o $$@

dist/decode$(1).wasm: $$(CORE:%=build/wasm$(1)/%.o)
	@mkdir -p dist
	$$(EMCC) $(3) $$^ $$(WASM_LINK) $$(DECODE_EXPORTS:%=-Wl,--export=hansel_%) \
	    $$(VALUE_EXPORTS:%=-Wl,--export=hansel_%) -o $$@
endef
$(eval $(call WASM_RULES,,scalar,))
$(eval $(call WASM_RULES,_simd,simd,-msimd128 -mbulk-memory))

dist/recode.wasm: build/wasm/prefix.o
	@mkdir -p dist
	$(EMCC) $^ $(WASM_LINK) $(RECODE_EXPORTS:%=-Wl,--export=hansel_%) -o $@

dist/planes.wasm: build/wasm/planes.o build/wasm/frequencies.o
	@mkdir -p dist
	$(EMCC) $^ $(WASM_LINK) $(PLANE_EXPORTS:%=-Wl,--export=hansel_%) -o $@

.PRECIOUS: build/wasm/%.o build/wasm_simd/%.o

# JavaScript reads the C structs by numbers, which a change of the structs changes.
build/structs.checked: tools/structs.js web/core/structs.js $(HEADERS)
	@mkdir -p build
	EMCC='$(EMCC)' node tools/structs.js
	@touch $@

structs: ## web/core/structs.js anew, after a change of the C structs
	EMCC='$(EMCC)' node tools/structs.js --write

dist/wgsl.js: tools/shaders.js package.json $(wildcard shaders/*)
	@mkdir -p dist
	node tools/shaders.js

dist/parsers.js: tools/parsers.js package.json node_modules/.installed
	@mkdir -p dist
	node tools/parsers.js

dist/types/hansel.d.ts: $(WEB) tsconfig.json tools/types.js dist/wgsl.js dist/parsers.js node_modules/.installed
	$(TSC) -p .
	node tools/types.js
	@touch $@

min/hansel.js: $(WEB) tools/minify.js package.json node_modules/.installed
	node tools/minify.js

# ---- the demo page ---------------------------------------------------------------

# The language model: git holds it once, without loss; here it is coded at some rates.
MODEL = licence-llama
MODEL_DIR = web/demo/models/$(MODEL)
RATES = 8 5 4 3 2.5
# With error feedback, by what the model makes of its own text.
FED_RATES = 3 2.25
MODELS = $(RATES:%=dist/demo/models/$(MODEL)/%.hansel.safetensors)
FED_MODELS = $(FED_RATES:%=dist/demo/models/$(MODEL)/%f.hansel.safetensors)

build/$(MODEL).safetensors: $(MODEL_DIR)/model.hansel.safetensors dist/hansel_simd.wasm
	@mkdir -p build
	node web/cli.js decode $< -o $@ --force --quiet

$(MODELS): dist/demo/models/$(MODEL)/%.hansel.safetensors: build/$(MODEL).safetensors \
    dist/hansel_simd.wasm $(wildcard web/encode/*.js)
	@mkdir -p $(@D)
	node web/cli.js encode $< -o $@ --bits $* --force --quiet

build/hessians.safetensors: build/$(MODEL).safetensors $(wildcard web/llama/*.js)
	node web/cli.js calibrate $< --config $(MODEL_DIR)/config.json -o $@ --force --quiet

$(FED_MODELS): dist/demo/models/$(MODEL)/%f.hansel.safetensors: build/$(MODEL).safetensors \
    build/hessians.safetensors dist/hansel_simd.wasm $(wildcard web/encode/*.js)
	@mkdir -p $(@D)
	node web/cli.js encode $< -o $@ --bits $* --hessians build/hessians.safetensors --force --quiet

dist/demo/models/$(MODEL)/models.json: tools/models.js $(MODELS) $(FED_MODELS) $(wildcard $(MODEL_DIR)/*.json)
	node tools/models.js $(MODEL_DIR) $(@D) $(RATES) $(FED_RATES:%=%f)

dist/demo/vendor/uplot.js: tools/vendor.js node_modules/.installed
	node tools/vendor.js dist/demo/vendor
	@touch $@

dist/demo/samples/samples.json: tools/samples.js $(MODULES)
	node tools/samples.js dist/demo/samples

dist/demo/runtimes/models.json: tools/runtime_demo.js $(wildcard tools/onnx_*.js tools/runtime_files.js) \
    $(MODEL_DIR)/model.hansel.safetensors $(MODULES) dist/parsers.js $(wildcard web/encode/*.js web/cli/*.js)
	node tools/runtime_demo.js $(MODEL_DIR) $(@D)

dist/site/index.html: tools/site.js $(WEB) $(wildcard web/demo/* web/demo/page/* web/llama/*) src/FORMAT.md docs/RUNTIMES.md \
    dist/demo/runtimes/models.json $(MODULES) min/hansel.js dist/wgsl.js dist/demo/models/$(MODEL)/models.json \
    dist/demo/vendor/uplot.js dist/demo/samples/samples.json
	node tools/site.js dist/site

# Static files for any host, below any path.
site: build ## the demo page as static files, in dist/site

# ---- the main job ---------------------------------------------------------------

demo: build ## samples, codes, verifies and measures a matrix; serves the demo page
	node tests/bench/demo.js build/demo

# ---- tests -----------------------------------------------------------------------

SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all
VECTORS = tests/vectors
SEEDS = $(addprefix $(VECTORS)/,ok bad version_4/ok version_4/bad)

NATIVE_TEST = $(wildcard tests/core/native*.c)
MAKE_VECTORS = $(wildcard tests/core/vectors*.c)
TEST_HEADERS = tests/core/formula.h tests/core/native.h tests/core/vectors.h

build/native_test: $(NATIVE_TEST) $(TEST_HEADERS) build/libhansel.a
	$(CC) $(CFLAGS) $(WARNINGS) $(STRICT) -Isrc $(NATIVE_TEST) build/libhansel.a -lm -o $@

build/native_test_asan: $(NATIVE_TEST) $(TEST_HEADERS) $(SOURCES) $(HEADERS)
	@mkdir -p build
	clang -O1 -g $(WARNINGS) $(STRICT) $(SANITIZE) -Isrc $(NATIVE_TEST) \
	    $(filter-out src/variant.c,$(SOURCES)) -lm -o $@

# Any C++ compiler will do.
CXX = $(or $(shell command -v g++ || command -v clang++),$(error neither g++ nor clang++ is here))

build/cpp_test: tests/core/cpp.cpp $(HEADERS) build/libhansel.a
	$(CXX) -std=c++11 -Wall -Wextra -pedantic -Werror -Isrc $< build/libhansel.a -o $@

build/example: src/example.c $(HEADERS) build/libhansel.a
	$(CC) $(CFLAGS) $(WARNINGS) $(STRICT) $< build/libhansel.a -o $@

build/vectors: $(MAKE_VECTORS) $(TEST_HEADERS) build/libhansel.a
	$(CC) $(CFLAGS) $(WARNINGS) $(STRICT) -Isrc $(MAKE_VECTORS) build/libhansel.a -o $@

build/encode_cases: tests/core/encode_cases.c build/libhansel.a
	$(CC) $(CFLAGS) $(WARNINGS) $(STRICT) -Isrc $^ -o $@

# On purpose only: a change of these bytes is a change of the format (FORMAT.md section 10).
vectors: build/vectors ## writes tests/vectors/version_4 anew: a change of the format
	mkdir -p $(VECTORS)/version_4
	rm -f $(VECTORS)/version_4/ok/* $(VECTORS)/version_4/bad/*
	build/vectors $(VECTORS)/version_4

# Without trace-cmp it runs three times as often, and covers more in the same time.
build/fuzz: tests/core/fuzz.c tests/core/formula.h $(SOURCES) $(HEADERS)
	@mkdir -p build
	clang -O1 -g $(WARNINGS) $(STRICT) -fsanitize=fuzzer $(SANITIZE) \
	    -fno-sanitize-coverage=trace-cmp -Isrc tests/core/fuzz.c \
	    $(filter-out src/variant.c,$(SOURCES)) -o $@

FUZZ_SECONDS = 60
# The first folder receives what the fuzzer finds; the vectors are only read.
FUZZ = build/fuzz -timeout=10 -rss_limit_mb=2048 -max_len=16384 -artifact_prefix=build/
fuzz: build/fuzz ## fuzzes all decoders, one against the other, for FUZZ_SECONDS, 60
	@mkdir -p build/corpus
	$(FUZZ) -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	    build/corpus $(SEEDS)

MOCHA = npx --no-install mocha

# Of every part what a mistake breaks first, in less than two minutes: C, the codec in wasm, the
# package's rooms and mirrors, the command line there and back, every GPU back end.
CHECK_TESTS = $(addprefix tests/,$(addsuffix .test.js,api/rooms api/mirror api/vectors \
              api/round_trip gpu/short))
CHECK_CLI = tests/api/cli.test.js -g 'byte for byte|to a plain file|verifies'
check: build lint build/native_test ## lints; of every part the quick tests
	build/native_test $(VECTORS)
	$(MOCHA) $(CHECK_TESTS)
	$(MOCHA) $(CHECK_CLI)

test: build lint build/native_test build/native_test_asan build/cpp_test build/example \
    build/encode_cases build/fuzz ## lints; all tests
	build/native_test $(VECTORS)
	build/native_test_asan $(VECTORS)
	build/cpp_test
	build/example >build/example.txt
	grep -F -f build/example.txt src/example.c
	! $(CC) -ffast-math -fsyntax-only src/values.c 2>/dev/null
	@rm -rf build/corpus_test && mkdir -p build/corpus_test
	$(FUZZ) -runs=16000 -seed=1 build/corpus_test $(SEEDS) \
	    > build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
	@tail -n 1 build/fuzz.log
	$(MOCHA) --parallel --jobs 2 --ignore tests/gpu/short.test.js \
	    'tests/bundlers/*.test.js' 'tests/gpu/*.test.js' 'tests/page/*.test.js' 'tests/runtimes/*.test.js' \
	    'tests/api/*.test.js'

bundlers: build ## the package in every bundler, each installed from npm
	$(MOCHA) tests/bundlers/all.js

# ---- habits ----------------------------------------------------------------------

C_FILES = $(wildcard src/*.[ch] tests/*/*.[ch])
ESLINT = npx --no-install eslint -c tools/eslint.config.js web tests tools
lint: setup ## layout and mistakes of C, JavaScript, its types, and scripts
	clang-format --dry-run -Werror $(C_FILES)
	$(ESLINT)
	$(TSC) -p . --noEmit
	bash -n .ci/setup && bash -n .ci/run

format: setup ## lays out C and JavaScript
	clang-format -i $(C_FILES)
	$(ESLINT) --fix

build/bench: tests/bench/native.c build/libhansel.a
	$(CC) $(CFLAGS) -std=c99 $(STRICT) -D_POSIX_C_SOURCE=200809L -Isrc $< build/libhansel.a -o $@

bench: build build/bench ## measures speed
	node tests/bench/bench.js $(BENCH)

# What coding does to that model's predictions: docs/EVAL.md.
eval: build ## measures what coding costs a language model
	node tests/bench/eval.js $(EVAL)

# Needs Debian packages that nothing else does, and says which. COST=--write renews budget and page.
gpu-cost: build ## what the shaders cost on AMD GPUs, which need not be here: docs/GPU.md
	node tests/cost/cost.js $(COST)

clean: ## removes what was made
	rm -rf build dist min
