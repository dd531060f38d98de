/* SPDX-License-Identifier: BSD-3-Clause
 * Collecting a command: lines and literals. */
#pragma once
#include "store/imap/imap_session.h"

/* Take octets of the command up to its end at most; dispatches when it is whole. */
size_t imap_line_input(struct imap_session *s, struct bytes data);
/* Give the command's memory back; the next command may come. */
void imap_line_reset(struct imap_session *s);
