/*
 * The numbers of JSON: the part of the reader (json.c) that turns digits into a value.
 */
#ifndef DPG_JSON_NUMBER_H
#define DPG_JSON_NUMBER_H

#include "json.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/*
 * Reads the number that begins at `p`, a digit or a minus, into v's type and value. Returns what follows it; or NULL, and
 * then *error is a static sentence and *error_at where it applies. Reads nothing at or behind `end`.
 */
const unsigned char *dpg_json_read_number(const unsigned char *p, const unsigned char *end, dpg_json_value *v,
                                          const char **error, const unsigned char **error_at);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
