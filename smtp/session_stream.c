/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/session_stream.h"

#define OUTPUT_MAX 2048 /* octets of replies handed to the stream at once */

bool smtp_session_flush(struct smtp_session *s, struct stream *to)
{
	uint8_t memory[OUTPUT_MAX];
	struct buf out;

	while (smtp_session_has_output(s)) {
		buf_init(&out, memory, sizeof(memory));
		smtp_session_output(s, &out);
		size_t n = stream_send(to, buf_view(&out));
		smtp_session_sent(s, n);
		if (n < out.n)
			return false;
	}
	return true;
}
