/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: the server's session.  First octet: how the input is cut; second: which verdict is pending,
 * whether commits are held, how little room there is, what the listener is for.  An octet 0xfe in
 * the rest ends what the peer sends before it looks at the replies.  Whole and cut must accept the
 * same messages. */
#include "tests/conv/smtp_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GROUP_END 0xfe

struct outcome {
	unsigned messages;
	uint32_t crc;
};

/* Whoever waits gets what he waits for. */
static bool unblock(struct smtp_fake *f)
{
	if (smtp_session_wants_tls(&f->session)) {
		smtp_session_secured(&f->session);
		return true;
	}
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

static void feed(struct smtp_fake *f, struct bytes group, size_t piece)
{
	while (group.n) {
		size_t n = smtp_fake_input(f, group, piece);
		group = bytes_skip(group, n);
		f->out_n = 0;
		BUG_ON(n == 0 && !unblock(f)); /* nothing holds the session for ever */
	}
}

static struct outcome run(struct bytes in, size_t piece, uint8_t how)
{
	static struct smtp_fake f;

	static const char *const peers[] = {"198.18.1.1", "198.18.0.1", "198.18.7.1", "198.18.1.1"};

	smtp_fake_init(&f, peers[how >> 6]);
	f.park = (enum smtp_stage)(how & 7);
	if (how & 32)
		f.service = (struct smtp_service){
			.tls = true, .auth = true, .submission = true, .auth_in_clear = how & 64};
	f.service.lmtp = how & 128;
	f.refused[0] = 5;
	f.hold_commits = how & 8;
	f.room = how & 16 ? 3 : SIZE_MAX;
	smtp_session_start(&f.session);
	unblock(&f);
	smtp_fake_flush(&f);
	while (in.n) {
		ptrdiff_t end = bytes_find(in, GROUP_END, 0);
		struct bytes group = end < 0 ? in : bytes_first(in, (size_t)end);
		in = bytes_skip(in, group.n + 1);
		feed(&f, group, piece);
	}
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
	struct bytes in = bytes_make(data + 2, size - 2);
	struct outcome cut = run(in, 1u + data[0], data[1]);
	struct outcome whole = run(in, 0, data[1]);
	BUG_ON(cut.messages != whole.messages || cut.crc != whole.crc);
	return 0;
}
