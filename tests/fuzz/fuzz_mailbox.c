/* SPDX-License-Identifier: BSD-3-Clause
 * What a POP3 or IMAP server says to the client that reads a mailbox: in pieces as the first octets
 * say.  Messages begin and end in turn, and there are never more than were asked for. */
#include <stdlib.h>
#include "bench/mailbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool open;

static void on_begin(void *ctx)
{
	(void)ctx;
	BUG_ON(open);
	open = true;
}

static void on_content(void *ctx, struct bytes run)
{
	(void)ctx;
	(void)run;
	BUG_ON(!open);
}

static void on_end(void *ctx)
{
	(void)ctx;
	BUG_ON(!open);
	open = false;
}

static const struct mailbox_ops ops = {.begin = on_begin, .content = on_content, .end = on_end};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct mailbox m;
	uint8_t memory[MAILBOX_OUTPUT_MIN];
	struct buf out;

	if (n < 2)
		return 0;
	open = false;
	mailbox_init(&m, &ops, NULL,
		&(struct mailbox_conf){.user = "u",
			.password = "p",
			.seen = data[0] >> 4,
			.imap = data[0] & 1,
			.watch = data[0] & 2});
	size_t piece = data[1] + 1u;
	for (size_t at = 2; at < n; at += piece) {
		size_t have = MIN(piece, n - at);
		uint8_t *copy = malloc(have); /* its own block: an octet too many is noticed */
		BUG_ON(!copy);
		memcpy(copy, data + at, have);
		mailbox_input(&m, bytes_make(copy, have));
		free(copy);
		BUG_ON(m.state == MAILBOX_BODY && !open);
		BUG_ON(mailbox_seen(&m) > MAX(m.exists, (uint32_t)15) &&
			m.asked < mailbox_seen(&m));
		if (data[0] & 4 && at > n / 2)
			mailbox_quit(&m);
		buf_init(&out, memory, sizeof(memory));
		mailbox_output(&m, &out);
		BUG_ON(out.overflow);
	}
	return 0;
}
