/* SPDX-License-Identifier: BSD-3-Clause
 * The server engine's replies over a stream.  OWNER: the core's thread. */
#pragma once
#include "dataplane/dataplane.h"
#include "smtp/session.h"

/* Send the replies that are due.  False: the stream is full; on_writable comes. */
bool smtp_session_flush(struct smtp_session *s, struct stream *to);
