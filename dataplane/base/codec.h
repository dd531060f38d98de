/* SPDX-License-Identifier: BSD-3-Clause
 * Strict base64 (RFC 4648 section 4), hexadecimal and decimal.  Any thread, no allocation. */
#pragma once
#include "dataplane/base/buf.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Appends; sets out->overflow when it does not fit. */
void base64_encode(struct buf *out, struct bytes in);
/* Appends.  Returns 0; -EINVAL: not canonical base64 (bad character, length, padding or stray
 * bits); -ENOSPC: does not fit. */
int base64_decode(struct buf *out, struct bytes in) WARN_UNUSED;
/* Sixteen lower-case digits and no NUL. */
void hex_u64(struct buf *out, uint64_t v);
/* Decimal digits and no NUL, at least so many (1..20), with zeros in front. */
void dec_u64(struct buf *out, uint64_t v, unsigned digits);
/* 1..16 hexadecimal digits of either case, the whole view.  Returns 0 or -EINVAL. */
int hex_to_u64(struct bytes in, uint64_t *v) WARN_UNUSED;
