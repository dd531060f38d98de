/* SPDX-License-Identifier: BSD-3-Clause
 * Values of options.  Each returns 0; or -1, and says on standard error what is wrong. */
#pragma once
#include "dataplane/base/netaddr.h"

/* The option that the next ones are of, as it was written; "": none, an argument. */
void value_of(const char *name);
/* Says that value is no `what`.  Returns -1. */
int value_bad(const char *what, const char *value);
int value_number(const char *text, const char *what, double least, double most, double *out);
/* Seconds, with fractions, as microseconds. */
int value_seconds(const char *text, uint64_t *us_r);
/* Copied when it fits into cap octets with its NUL and has no control characters. */
int value_text(const char *text, const char *what, char *out, size_t cap);
int value_whole(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *out);
int value_whole32(const char *text, const char *what, uint32_t least, uint32_t most, uint32_t *out);
/* [inet:]ADDRESS[:PORT], "[A]:PORT" for IPv6; any: the address may be left out, then it is 0.0.0.0.
 */
int value_endpoint(const char *text, uint16_t port, bool any, struct endpoint *out);
/* "local@domain"; both have room for cap octets, of which 24 stay free for a number. */
int value_mail(const char *text, char *local, char *domain, size_t cap);
