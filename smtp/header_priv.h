/* SPDX-License-Identifier: BSD-3-Clause
 * Lexical helpers shared by the header parsers. */
#pragma once
#include "smtp/header.h"

static inline bool header_is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Append, or cut without the overflow mark: these texts are for people. */
static inline void header_keep(struct buf *out, uint8_t c)
{
	if (out->n < out->cap)
		out->p[out->n++] = c;
}

/* b.p[at] is "(": behind its end; the text within goes to text. */
size_t header_skip_comment(struct bytes b, size_t at, struct buf *text);
/* Behind white space and comments. */
size_t header_skip_cfws(struct bytes b, size_t at);
/* b.p[at] is a quotation mark: behind its end; the unquoted text goes to out. */
size_t header_quoted(struct bytes b, size_t at, struct buf *out);
