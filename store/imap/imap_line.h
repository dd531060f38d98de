/* SPDX-License-Identifier: BSD-3-Clause
 * Collecting a command: lines and literals. */
#pragma once
#include "store/imap/imap_session.h"

/* Take octets of the command up to its end at most; dispatches when it is whole. */
size_t imap_line_input(struct imap_session *s, struct bytes data);
/* Of a long command only the tag and what begins at `from` is wanted from now on, which may be long
 * in coming to its end: when that is short the command's space is given back.  Returns by how much
 * what began at `from` has moved, in octets. */
ptrdiff_t imap_line_shrink(struct imap_session *s, size_t from);
/* Give the command's memory back; the next command may come. */
void imap_line_reset(struct imap_session *s);
