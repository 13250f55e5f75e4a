# Hansel. `make demo` runs the main job, `make test` passes the tests; both set up
# a fresh Debian 12 machine first.

CC = gcc
CFLAGS = -O3 -g
WARNINGS = -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow -Werror
# Two roundings never become one: bytes must not depend on the machine.
STRICT = -ffp-contract=off
EMCC = emcc

CORE = layout crc32c head values model encode decode
SOURCES = $(CORE:%=src/%.c)
HEADERS = src/hansel.h src/format.h src/layout.h
HOT = encode decode values crc32c

# The wasm interface: web/codec.js calls these and nothing else.
EXPORTS = read_head build_table read_cursors stream_start decode_streams dequantize join \
          crc32c scan quantize smallest_step split histogram fit entropy init plan \
          encode_bound encode_streams finish write_head search_begin search_next
WASM_LINK = -s STANDALONE_WASM=1 --no-entry -s ALLOW_MEMORY_GROWTH=1 -s MAXIMUM_MEMORY=4GB \
            -s INITIAL_MEMORY=1MB -s TOTAL_STACK=131072 -Wl,--export=__heap_base \
            $(EXPORTS:%=-Wl,--export=hansel_%)

.PHONY: all build setup demo test bench fuzz clean lint
all: build

build: setup dist/hansel.wasm dist/hansel_simd.wasm dist/types/hansel.d.ts build/libhansel.a

setup:
	@.ci/setup

build/%.o: src/%.c $(HEADERS) Makefile
	@mkdir -p build
	$(CC) $(CFLAGS) $(WARNINGS) $(STRICT) -c $< -o $@

build/libhansel.a: $(CORE:%=build/%.o)
	ar rcs $@ $^

define WASM_RULES
build/$(1)/%.o: src/%.c $$(HEADERS) Makefile
	@mkdir -p build/$(1)
	$$(EMCC) $$(if $$(filter $$*,$$(HOT)),-O3,-Os) -std=c11 -Wall -Wextra -Werror $$(STRICT) $(2) -c $$< -o $$@

dist/$(1).wasm: $$(CORE:%=build/$(1)/%.o) build/$(1)/wasm.o
	@mkdir -p dist
	$$(EMCC) -O3 $(2) $$^ $$(WASM_LINK) -o $$@
endef
$(eval $(call WASM_RULES,hansel,))
$(eval $(call WASM_RULES,hansel_simd,-msimd128))
.PRECIOUS: build/hansel/%.o build/hansel_simd/%.o
