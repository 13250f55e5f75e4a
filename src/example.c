/*
 * example.c - a matrix coded at 4 bits a weight, and decoded again. It prints
 *
 *   262144 bytes became 32748, 4.00 bits a weight; none is off by more than 0.075
 */
#include <stdio.h>
#include <stdlib.h>

#include "hansel.h"

enum { ROWS = 64, COLUMNS = 1024, COUNT = ROWS * COLUMNS };

int main(void) {
    static float weights[COUNT], decoded[COUNT];
    const hansel_tensor tensor = {HANSEL_F32, 2, {ROWS, COLUMNS}, weights};
    const hansel_options options = {.target = HANSEL_TARGET_BITS, .goal = 4};
    size_t room = hansel_encode_room(&tensor, &options), bytes, i;
    void *blob = malloc(room);
    float largest = 0;
    uint32_t random = 1, k;
    hansel_status status;
    if (!blob) return 1;
    for (i = 0; i < COUNT; i++) /* a bell curve */
        for (k = 0; k < 4; k++, random = random * 1664525 + 1013904223)
            weights[i] += (float)(random >> 16) / 65536 - 0.5f;

    status = hansel_encode(blob, room, &bytes, &tensor, &options, NULL);
    if (status == HANSEL_OK)
        status = hansel_decode(decoded, sizeof decoded, HANSEL_F32, blob, bytes, NULL);
    if (status != HANSEL_OK) {
        fprintf(stderr, "%s\n", hansel_status_name(status));
        return 1;
    }

    for (i = 0; i < COUNT; i++) {
        float error = decoded[i] - weights[i];
        if (error < 0) error = -error;
        if (error > largest) largest = error;
    }
    printf("%zu bytes became %zu, %.2f bits a weight; none is off by more than %.3f\n",
           sizeof weights, bytes, 8.0 * (double)bytes / COUNT, (double)largest);
    free(blob);
    return 0;
}
