/* partition.c - the matrix view of a tensor and its cut into streams. FORMAT.md 3.1. */
#include "internal.h"

int hansel_matrix_view(hansel_blob *blob) {
    uint32_t i;
    if (blob->rank > HANSEL_MAX_RANK) return 0;
    blob->rows = blob->columns = 1;
    for (i = 0; i < blob->rank; i++) {
        int is_column = i + blob->row_dims >= blob->rank;
        uint64_t *count = is_column ? &blob->columns : &blob->rows;
        uint64_t most = is_column ? HANSEL_MAX_COLUMNS : HANSEL_MAX_WEIGHTS;
        if (blob->shape[i] >= HANSEL_MAX_WEIGHTS) return 0;
        if (blob->shape[i] && *count > most / blob->shape[i]) return 0;
        *count *= blob->shape[i];
    }
    if (blob->columns && blob->rows > HANSEL_MAX_WEIGHTS / blob->columns) return 0;
    blob->weights = blob->rows * blob->columns;
    return 1;
}

int hansel_count_streams(hansel_blob *blob) {
    uint64_t count = 0;
    if (blob->alphabet_size < 2) { /* nothing, or all equal: no streams */
        blob->stream_count = 0;
        return blob->pieces == 0 && blob->rows_per_stream == 0;
    }
    if (blob->pieces < 1 || blob->rows_per_stream < 1) return 0;
    if (blob->pieces > 1 && blob->rows_per_stream > 1) return 0;
    if (blob->pieces > hansel_row_steps(hansel_symbol_columns(blob, blob->columns))) return 0;
    if (blob->rows_per_stream > blob->rows) return 0;
    count =
        blob->pieces > 1 ? blob->rows * blob->pieces : (blob->rows - 1) / blob->rows_per_stream + 1;
    if (count > HANSEL_MAX_STREAMS) return 0;
    blob->stream_count = (uint32_t)count;
    return 1;
}

/* Steps are dealt evenly, the first pieces get one more: nothing but small
 * numbers, so that a shader can do the same in 32 bits. */
uint64_t hansel_piece_start(const hansel_blob *blob, uint32_t piece) {
    uint64_t steps = hansel_row_steps(hansel_symbol_columns(blob, blob->columns));
    uint64_t even = steps / blob->pieces, extra = steps % blob->pieces;
    uint64_t start =
        HANSEL_LANES * blob->weights_per_symbol * (piece * even + (piece < extra ? piece : extra));
    return start < blob->columns ? start : blob->columns;
}

uint64_t hansel_stream_start(const hansel_blob *blob, uint32_t stream) {
    if (stream >= blob->stream_count) return blob->weights;
    if (blob->pieces > 1)
        return stream / blob->pieces * blob->columns +
               hansel_piece_start(blob, stream % blob->pieces);
    return (uint64_t)stream * blob->rows_per_stream * blob->columns;
}

uint64_t hansel_symbol_start(const hansel_blob *blob, uint32_t stream) {
    uint64_t columns = hansel_symbol_columns(blob, blob->columns);
    if (stream >= blob->stream_count) return blob->rows * columns;
    if (blob->pieces > 1)
        return stream / blob->pieces * columns +
               hansel_symbol_columns(blob, hansel_piece_start(blob, stream % blob->pieces));
    return (uint64_t)stream * blob->rows_per_stream * columns;
}

hansel_extent hansel_stream_extent(const hansel_blob *blob, uint32_t stream) {
    hansel_extent extent;
    if (blob->pieces > 1) {
        uint32_t piece = stream % blob->pieces;
        extent.row_count = 1;
        extent.weight_columns =
            hansel_piece_start(blob, piece + 1) - hansel_piece_start(blob, piece);
    } else {
        uint64_t row = (uint64_t)stream * blob->rows_per_stream;
        extent.row_count =
            blob->rows - row < blob->rows_per_stream ? blob->rows - row : blob->rows_per_stream;
        extent.weight_columns = blob->columns;
    }
    extent.column_count = hansel_symbol_columns(blob, extent.weight_columns);
    extent.row_steps = hansel_row_steps(extent.column_count);
    extent.step_count = extent.row_count * extent.row_steps;
    return extent;
}
