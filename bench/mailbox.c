/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/mailbox.h"

#define TAG "b" /* one command at a time */

void mailbox_init(struct mailbox *m, const struct mailbox_ops *ops, void *ctx,
	const struct mailbox_conf *conf)
{
	*m = (struct mailbox){.conf = *conf, .ops = ops, .ctx = ctx};
}

static void become(struct mailbox *m, enum mailbox_state state, bool due)
{
	m->state = (uint8_t)state;
	m->due = due;
}

static void fail(struct mailbox *m, const char *why)
{
	m->error = why;
	become(m, MAILBOX_ENDED, false);
}

/* What to do now that nothing is under way. */
static void next(struct mailbox *m)
{
	if (m->quit)
		become(m, MAILBOX_QUIT, true);
	else if (m->exists > m->conf.seen)
		become(m, MAILBOX_FETCH, true);
	else if (m->conf.imap && m->conf.watch)
		become(m, MAILBOX_IDLE, true);
	else
		become(m, MAILBOX_QUIT, true);
}

static bool number(struct bytes text, uint64_t most, uint64_t *n_r)
{
	size_t n = 0;

	while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
		n++;
	return bytes_to_u64(bytes_first(text, n), n_r) == 0 && *n_r <= most;
}

static void message_end(struct mailbox *m)
{
	m->conf.seen++;
	m->ops->end(m->ctx);
}

/* ---- POP3 ---- */

static void pop3_count(struct mailbox *m, struct bytes line)
{
	uint64_t n;

	if (!number(bytes_skip(line, 4), UINT32_MAX, &n)) {
		fail(m, "the answer to STAT is none");
		return;
	}
	m->exists = (uint32_t)n;
	next(m);
}

static void pop3_line(struct mailbox *m, struct bytes line)
{
	if (m->state == MAILBOX_QUIT) {
		become(m, MAILBOX_ENDED, false);
		return;
	}
	if (m->due || !bytes_istarts(line, BYTES_LIT("+OK"))) {
		fail(m, m->due ? "the server spoke without being asked" : "the server said no");
		return;
	}
	switch ((enum mailbox_state)m->state) {
	case MAILBOX_GREETING:
		become(m, MAILBOX_USER, true);
		break;
	case MAILBOX_USER:
		become(m, MAILBOX_PASS, true);
		break;
	case MAILBOX_PASS:
		become(m, MAILBOX_COUNT, true);
		break;
	case MAILBOX_COUNT:
		pop3_count(m, line);
		break;
	default:
		data_decoder_init(&m->decoder, DATA_DOTTED, MAILBOX_OCTETS_MAX, UINT32_MAX);
		become(m, MAILBOX_BODY, false);
		m->ops->begin(m->ctx);
		break;
	}
}

static void give(void *ctx, struct bytes run)
{
	struct mailbox *m = ctx;

	m->ops->content(m->ctx, run);
}

/* Lines up to the one with the dot, as SMTP's DATA has them.  Returns octets taken. */
static size_t pop3_body(struct mailbox *m, struct bytes in)
{
	size_t used = 0;

	if (data_decode(&m->decoder, in, give, m, &used) == DATA_END) {
		message_end(m);
		next(m);
	}
	return used;
}

static void pop3_output(struct mailbox *m, struct buf *out)
{
	switch ((enum mailbox_state)m->state) {
	case MAILBOX_USER:
		buf_printf(out, "USER %s\r\n", m->conf.user);
		break;
	case MAILBOX_PASS:
		buf_printf(out, "PASS %s\r\n", m->conf.password);
		break;
	case MAILBOX_COUNT:
		buf_str(out, "STAT\r\n");
		break;
	case MAILBOX_FETCH:
		buf_printf(out, "RETR %u\r\n", m->conf.seen + 1);
		break;
	default:
		buf_str(out, "QUIT\r\n");
		break;
	}
}

/* ---- IMAP ---- */

/* "* 12 EXISTS" */
static void imap_untagged(struct mailbox *m, struct bytes line)
{
	ptrdiff_t space = bytes_find(bytes_skip(line, 2), ' ', 0);
	uint64_t n;

	if (space < 0 || !number(bytes_skip(line, 2), UINT32_MAX, &n) ||
		!bytes_ieq(bytes_skip(line, 3 + (size_t)space), BYTES_LIT("EXISTS")))
		return;
	m->exists = (uint32_t)n;
	m->idle_done |= m->state == MAILBOX_IDLE && m->exists > m->conf.seen;
}

static void imap_tagged(struct mailbox *m, struct bytes line)
{
	if (m->state == MAILBOX_QUIT) {
		become(m, MAILBOX_ENDED, false);
		return;
	}
	if (m->due || !bytes_istarts(line, BYTES_LIT(TAG " OK"))) {
		fail(m, m->due ? "the server spoke without being asked" : "the server said no");
		return;
	}
	switch ((enum mailbox_state)m->state) {
	case MAILBOX_PASS:
		become(m, MAILBOX_COUNT, true);
		break;
	case MAILBOX_FETCH:
		m->conf.seen = MAX(m->conf.seen, m->asked);
		next(m);
		break;
	case MAILBOX_COUNT:
	case MAILBOX_IDLE:
		m->idle_done = false;
		next(m);
		break;
	default:
		fail(m, "the server spoke without being asked");
		break;
	}
}

/* Octets of the literal that follows the line: "... {12}"; false: none does. */
static bool literal_of(struct bytes line, uint64_t *n_r)
{
	size_t at = line.n;

	if (line.n < 3 || line.p[line.n - 1] != '}')
		return false;
	while (at > 0 && line.p[at - 1] != '{')
		at--;
	return at > 0 && number(bytes_make(line.p + at, line.n - 1 - at), UINT64_MAX, n_r);
}

static void imap_literal(struct mailbox *m, struct bytes line, uint64_t n)
{
	bool body = m->state == MAILBOX_FETCH && m->conf.seen < m->asked &&
		    memmem(line.p, line.n, "BODY[] {", 8);

	if (n > MAILBOX_OCTETS_MAX) {
		fail(m, "a message is too large");
		return;
	}
	m->literal_left = n;
	if (body)
		m->ops->begin(m->ctx);
	become(m, body ? MAILBOX_BODY : MAILBOX_SKIP, false);
}

static void imap_line(struct mailbox *m, struct bytes line)
{
	uint64_t n;

	if (m->state == MAILBOX_GREETING) {
		if (bytes_istarts(line, BYTES_LIT("* OK")))
			become(m, MAILBOX_PASS, true);
		else
			fail(m, "the server said no");
	} else if (m->state == MAILBOX_FETCH && literal_of(line, &n)) {
		imap_literal(m, line, n);
	} else if (bytes_istarts(line, BYTES_LIT("* "))) {
		imap_untagged(m, line);
	} else if (bytes_istarts(line, BYTES_LIT("+")) && m->state == MAILBOX_IDLE) {
		m->more = true;
	} else if (bytes_istarts(line, BYTES_LIT(TAG " "))) {
		imap_tagged(m, line);
	} /* what is left is the end of a message's line */
}

static size_t imap_body(struct mailbox *m, struct bytes in)
{
	struct bytes run = bytes_first(in, (size_t)MIN(m->literal_left, (uint64_t)in.n));

	m->literal_left -= run.n;
	if (m->state == MAILBOX_BODY)
		m->ops->content(m->ctx, run);
	if (m->literal_left)
		return run.n;
	if (m->state == MAILBOX_BODY)
		message_end(m);
	become(m, MAILBOX_FETCH, false);
	return run.n;
}

/* RFC 3501 4.3: a quoted string. */
static void put_quoted(struct buf *out, const char *text)
{
	buf_byte(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_byte(out, '\\');
		buf_byte(out, (uint8_t)*text);
	}
	buf_byte(out, '"');
}

static void imap_output(struct mailbox *m, struct buf *out)
{
	switch ((enum mailbox_state)m->state) {
	case MAILBOX_PASS:
		buf_str(out, TAG " LOGIN ");
		put_quoted(out, m->conf.user);
		buf_byte(out, ' ');
		put_quoted(out, m->conf.password);
		buf_str(out, "\r\n");
		break;
	case MAILBOX_COUNT:
		buf_str(out, TAG " EXAMINE INBOX\r\n");
		break;
	case MAILBOX_FETCH:
		m->asked =
			m->conf.seen + MIN(m->exists - m->conf.seen, (uint32_t)MAILBOX_FETCH_MAX);
		buf_printf(out, TAG " FETCH %u:%u BODY.PEEK[]\r\n", m->conf.seen + 1, m->asked);
		break;
	case MAILBOX_IDLE:
		m->more = false;
		buf_str(out, TAG " IDLE\r\n");
		break;
	default:
		buf_str(out, TAG " LOGOUT\r\n");
		break;
	}
}

/* ---- both ---- */

static size_t take_line(struct mailbox *m, struct bytes in)
{
	ptrdiff_t at = bytes_find(in, '\n', 0);
	size_t used = at < 0 ? in.n : (size_t)at + 1;
	size_t kept = MIN(used, sizeof(m->line) - m->line_n);

	memcpy(m->line + m->line_n, in.p, kept);
	m->line_n = (uint16_t)(m->line_n + kept);
	m->line_long |= kept < used;
	if (at < 0)
		return used;
	size_t n = m->line_n;
	while (!m->line_long && n && (m->line[n - 1] == '\n' || m->line[n - 1] == '\r'))
		n--;
	m->line_n = 0;
	m->line_long = false;
	if (m->conf.imap)
		imap_line(m, bytes_make(m->line, n));
	else
		pop3_line(m, bytes_make(m->line, n));
	return used;
}

void mailbox_input(struct mailbox *m, struct bytes in)
{
	while (in.n && !mailbox_ended(m)) {
		size_t used;
		if (m->state != MAILBOX_BODY && m->state != MAILBOX_SKIP)
			used = take_line(m, in);
		else if (m->conf.imap)
			used = imap_body(m, in);
		else
			used = pop3_body(m, in);
		in = bytes_skip(in, used);
		/* an empty literal takes nothing, and ends */
		while (m->conf.imap && !m->literal_left &&
			(m->state == MAILBOX_BODY || m->state == MAILBOX_SKIP))
			imap_body(m, BYTES_NONE);
	}
}

void mailbox_output(struct mailbox *m, struct buf *out)
{
	if (m->state == MAILBOX_IDLE && !m->due && m->more && m->idle_done) {
		m->more = false;
		buf_str(out, "DONE\r\n");
	}
	if (!m->due)
		return;
	m->due = false;
	if (m->conf.imap)
		imap_output(m, out);
	else
		pop3_output(m, out);
}

void mailbox_quit(struct mailbox *m)
{
	m->quit = true;
	m->idle_done |= m->state == MAILBOX_IDLE;
	if (m->state == MAILBOX_IDLE && m->due)
		become(m, MAILBOX_QUIT, true);
}
