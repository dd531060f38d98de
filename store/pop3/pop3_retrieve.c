/* SPDX-License-Identifier: BSD-3-Clause
 * RETR and TOP: a message as a byte-stuffed multi-line reply, in slices.  OWNER: one core's thread.
 */
#include "store/pop3/pop3_priv.h"
#include <errno.h>

static void read_step(struct pop3_session *s);
static void send_step(struct pop3_session *s);

static void remember(struct pop3_session *s, struct bytes b)
{
	if (b.n >= 2)
		s->last[0] = b.p[b.n - 2];
	else if (b.n == 1)
		s->last[0] = s->last[1];
	if (b.n)
		s->last[1] = b.p[b.n - 1];
}

/* Octets as they are, a dot at the start of a line doubled.  A line starts after any LF: some
 * clients end lines there whatever precedes it. */
static void put_stuffed(struct pop3_session *s, struct bytes b)
{
	uint8_t before = s->last[1];
	size_t from = 0;

	for (ptrdiff_t at = bytes_find(b, '.', 0); at >= 0;
		at = bytes_find(b, '.', (size_t)at + 1)) {
		if ((at ? b.p[at - 1] : before) != '\n')
			continue;
		access_out_put(&s->engine.out, bytes_make(b.p + from, (size_t)at - from));
		access_out_str(&s->engine.out, ".");
		from = (size_t)at;
	}
	access_out_put(&s->engine.out, bytes_skip(b, from));
	remember(s, b);
}

/* Line by line until the header has ended and the wanted lines of the body are out.  True: enough.
 */
static bool put_top(struct pop3_session *s, struct bytes b)
{
	while (b.n) {
		if (s->in_body && s->lines_left == 0)
			return true;
		ptrdiff_t lf = bytes_find(b, '\n', 0);
		struct bytes line = bytes_first(b, lf < 0 ? b.n : (size_t)lf + 1);
		bool fresh = s->last[1] == '\n'; /* the view begins a line */
		bool empty = fresh &&
			     (bytes_eq(line, BYTES_LIT("\r\n")) || bytes_eq(line, BYTES_LIT("\n")));
		/* CR and LF in different chunks */
		bool split = line.n == 1 && lf == 0 && s->last[0] == '\n' && s->last[1] == '\r';
		put_stuffed(s, line);
		if (s->in_body && lf >= 0)
			s->lines_left--;
		s->in_body = s->in_body || empty || split;
		b = bytes_skip(b, line.n);
	}
	return s->in_body && s->lines_left == 0;
}

static void finish(struct pop3_session *s)
{
	chain_free(&s->slice);
	if (s->last[1] != '\n')
		access_out_str(&s->engine.out, s->last[1] == '\r' ? "\n" : "\r\n");
	pop3_say(s, ".");
	s->step = NULL;
}

static void ask(struct pop3_session *s)
{
	s->u.body = (struct body_read_op){.blob = s->blob,
		.offset = s->offset,
		.max = pop3_may_grow(s, ACCESS_USE_OUT) ? POP3_SLICE : ACCESS_SLICE_SHORT};
	s->step = read_step;
	pop3_submit(s, ACCESS_READER, STORE_READ_BODY);
}

static void send_step(struct pop3_session *s)
{
	struct chunk *c = chain_pop(&s->slice);

	if (!c) {
		if (s->offset >= s->total)
			finish(s);
		else
			ask(s);
		return;
	}
	struct bytes b = bytes_make(c->data, c->n);
	bool enough = false;
	if (s->lines_left == UINT64_MAX)
		put_stuffed(s, b);
	else
		enough = put_top(s, b);
	chunk_put(c);
	if (enough)
		finish(s);
}

static void read_failed(struct pop3_session *s)
{
	chain_free(&s->u.body.out);
	s->step = NULL;
	if (s->begun)
		s->engine.aborted = true; /* half a message is out: only a reset can say so */
	else if (s->u.op.status == -ENOENT)
		pop3_say(s, "-ERR the message is gone");
	else
		pop3_say(s, "-ERR [SYS/TEMP] cannot be read now");
}

static void read_step(struct pop3_session *s)
{
	struct body_read_op *r = &s->u.body;

	if (s->u.op.status == -ENOBUFS) {
		chain_free(&r->out);
		s->timer_wait = true;
		s->step = ask;
		s->engine.host->timer(s->engine.host_ctx, POP3_RETRY_US);
		return;
	}
	/* An empty slice before the end would be asked for forever. */
	if (s->u.op.status != 0 || (r->out.bytes == 0 && s->offset < r->total)) {
		read_failed(s);
		return;
	}
	if (!s->begun)
		access_out_printf(
			&s->engine.out, "+OK %llu octets\r\n", (unsigned long long)r->total);
	s->begun = true;
	s->total = r->total;
	s->offset += r->out.bytes;
	chain_join(&s->slice, &r->out);
	s->step = send_step;
}

void pop3_retrieve(struct pop3_session *s, uint32_t i, uint64_t lines)
{
	s->blob = pop3_row_at(s, i)->blob;
	s->offset = s->total = 0;
	s->lines_left = lines;
	s->in_body = s->begun = false;
	s->last[0] = 0;
	s->last[1] = '\n';
	ask(s);
}
