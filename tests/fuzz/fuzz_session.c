/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: the server's session.  First octet: how the input is cut; second: which verdict is pending,
 * whether commits are held, how little room there is.  Whole and cut must accept the same
 * messages. */
#include "tests/conv/smtp_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	unsigned messages;
	uint32_t crc;
};

/* Whoever waits gets what he waits for. */
static bool unblock(struct smtp_fake *f)
{
	if (f->session.stage != STAGE_NONE) {
		enum reply_id v = REPLY_OK;
		f->park = STAGE_NONE;
		if (f->session.stage == STAGE_END) {
			f->open = false;
			f->messages++;
			smtp_session_committed(
				&f->session, f->content.slot, REPLY_QUEUED, ++f->ids);
			v = REPLY_SUBMITTED;
		}
		smtp_session_verdict(&f->session, v);
		smtp_fake_flush(f);
		return true;
	}
	if (f->held) {
		smtp_fake_commit(f, REPLY_QUEUED);
		return true;
	}
	return false;
}

static struct outcome run(struct bytes in, size_t piece, uint8_t how)
{
	static struct smtp_fake f;

	smtp_fake_init(&f, how & 0x80 ? "198.18.0.1" : "198.18.1.1");
	f.park = (enum smtp_stage)(how & 7);
	f.hold_commits = how & 8;
	f.room = how & 16 ? 3 : SIZE_MAX;
	smtp_session_start(&f.session);
	unblock(&f);
	smtp_fake_flush(&f);
	while (in.n) {
		size_t n = smtp_fake_input(&f, in, piece);
		in = bytes_skip(in, n);
		f.out_n = 0;
		if (n == 0 && !unblock(&f))
			break;
	}
	BUG_ON(in.n); /* nothing holds the session for ever */
	while (unblock(&f))
		;
	BUG_ON(smtp_session_has_output(&f.session));
	BUG_ON(f.session.state == SMTP_CLOSED && !smtp_session_finished(&f.session));
	struct outcome o = {.messages = f.messages, .crc = f.content.crc};
	smtp_fake_fini(&f);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	(void)run(bytes_make(data + 2, size - 2), 1u + data[0], data[1]);
	(void)run(bytes_make(data + 2, size - 2), 0, data[1]);
	return 0;
}
