/*
 * What a fuzz target asks of every input: MUST(condition) ends the run, named, where it does not hold.
 */
#ifndef DPG_MUST_H
#define DPG_MUST_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition)    \
    ((condition) ? (void)0 \
                 : ((void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
