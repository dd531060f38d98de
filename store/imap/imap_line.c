/* SPDX-License-Identifier: BSD-3-Clause
 * A command is lines and literals: a line that ends in {n} is followed by n octets and then goes
 * on. What is too long is read to its end without being kept, then refused.  OWNER: one core's
 * thread. */
#include "store/imap/imap_line.h"
#include "store/imap/imap_priv.h"

void imap_line_reset(struct imap_session *s)
{
	struct imap_line *l = &s->line;

	if (l->p)
		explicit_bzero(l->p, MIN(l->n, 1024u)); /* a LOGIN's password among them */
	if (l->space)
		s->engine.host->space_put(s->engine.host_ctx, ACCESS_SPACE_COMMAND, l->space);
	if (l->chunk)
		chunk_put(l->chunk);
	*l = (struct imap_line){0};
	s->tag = BYTES_NONE;
	if (s->drain && !s->engine.ended && !s->engine.hung_up) {
		access_out_str(imap_out(s), "* BYE the server is going down\r\n");
		s->engine.ended = true;
	}
}

ptrdiff_t imap_line_shrink(struct imap_session *s, size_t from)
{
	struct imap_line *l = &s->line;
	size_t rest = l->n - from;
	struct chunk *chunk = l->space && s->tag.n + rest <= CHUNK_DATA ? chunk_get() : NULL;

	if (!chunk)
		return 0;
	memcpy(chunk->data, s->tag.p, s->tag.n);
	memcpy(chunk->data + s->tag.n, l->p + from, rest);
	ptrdiff_t moved =
		(ptrdiff_t)((uintptr_t)(chunk->data + s->tag.n) - (uintptr_t)(l->p + from));
	s->engine.host->space_put(s->engine.host_ctx, ACCESS_SPACE_COMMAND, l->space);
	s->tag.p = chunk->data;
	*l = (struct imap_line){.p = chunk->data,
		.n = (uint32_t)(s->tag.n + rest),
		.cap = CHUNK_DATA,
		.chunk = chunk};
	return moved;
}

/* Room for n more octets, or the reason why there is none.  Returns false to try later. */
static bool line_grow(struct imap_session *s, size_t n)
{
	struct imap_line *l = &s->line;

	if (!l->p) {
		l->chunk = chunk_get();
		if (!l->chunk) {
			imap_retry(s);
			return false;
		}
		l->p = l->chunk->data;
		l->cap = CHUNK_DATA;
	}
	if (n <= l->cap - l->n)
		return true;
	/* Who has not logged in needs no long command. */
	if (l->n + n > IMAP_COMMAND_MAX || l->space || s->continuation || !s->engine.logged_in) {
		l->skip = "BAD [TOOBIG] the command is too long";
		return true;
	}
	l->space = s->engine.host->space_get(s->engine.host_ctx, ACCESS_SPACE_COMMAND);
	if (!l->space) {
		l->skip = "NO [LIMIT] no room for long commands now, try later";
		return true;
	}
	memcpy(l->space, l->p, l->n);
	chunk_put(l->chunk);
	l->chunk = NULL;
	l->p = l->space;
	l->cap = ACCESS_COMMAND_BYTES;
	return true;
}

/* The tag of a command that is not even complete. */
static void tag_find(struct imap_session *s)
{
	struct bytes b = bytes_make(s->line.p, s->line.n);
	ptrdiff_t space = bytes_find(bytes_first(b, IMAP_TAG_MAX + 1), ' ', 0);

	s->tag = space > 0 ? bytes_first(b, (size_t)space) : BYTES_LIT("*");
	for (size_t i = 0; i < s->tag.n; i++) {
		if (s->tag.p[i] <= 32 || s->tag.p[i] > 126)
			s->tag = BYTES_LIT("*");
	}
}

static void refuse(struct imap_session *s, const char *text)
{
	if (s->append.message || s->append.refused) {
		imap_append_end(s, text);
		return;
	}
	tag_find(s);
	if (text[0] == 'B' && ++s->errors >= IMAP_ERRORS_MAX)
		s->engine.ended = true;
	imap_reply_now(s, text);
}

/* ---- dropping what is too long ---- */

static void skip_line_end(struct imap_session *s)
{
	struct imap_line *l = &s->line;
	struct bytes tail = bytes_make(l->tail, l->tail_n);
	uint64_t n;
	bool wait;

	while (tail.n && (tail.p[tail.n - 1] == '\n' || tail.p[tail.n - 1] == '\r'))
		tail.n--;
	l->tail_n = 0;
	/* A literal that waits for "+" never comes after our refusal. */
	if (imap_literal_tail(tail, &n, &wait) && !wait)
		l->skip_left = n;
	else
		refuse(s, l->skip);
}

static size_t skip_input(struct imap_session *s, struct bytes data)
{
	struct imap_line *l = &s->line;

	if (l->skip_left) {
		size_t n = (size_t)MIN((uint64_t)data.n, l->skip_left);
		l->skip_left -= n;
		return n;
	}
	ptrdiff_t lf = bytes_find(data, '\n', 0);
	size_t n = lf < 0 ? data.n : (size_t)lf + 1;
	for (size_t i = n > sizeof(l->tail) ? n - sizeof(l->tail) : 0; i < n; i++) {
		if (l->tail_n == sizeof(l->tail))
			memmove(l->tail, l->tail + 1, --l->tail_n);
		l->tail[l->tail_n++] = data.p[i];
	}
	if (lf >= 0)
		skip_line_end(s);
	return n;
}

/* ---- lines ---- */

static void literal_begins(struct imap_session *s, uint64_t n, bool wait)
{
	struct imap_line *l = &s->line;

	if (!s->continuation && imap_append_begins(s, n, wait))
		return;
	if (n > IMAP_COMMAND_MAX - l->n || (!s->engine.logged_in && n > l->cap - l->n)) {
		l->skip = "BAD [TOOBIG] the literal is too long";
		if (wait)
			refuse(s, l->skip);
		else
			l->skip_left = n;
		return;
	}
	l->literal_left = (uint32_t)n;
	l->from = l->n;
	if (wait)
		access_out_str(imap_out(s), "+ go ahead\r\n");
}

static void line_end(struct imap_session *s)
{
	struct imap_line *l = &s->line;
	struct bytes line = bytes_make(l->p + l->from, l->n - l->from);
	uint64_t n;
	bool wait;

	if (line.n < 2 || line.p[line.n - 2] != '\r') {
		refuse(s, "BAD lines end in CRLF");
		return;
	}
	line.n -= 2;
	if (s->continuation) {
		s->continuation(s, line);
		return;
	}
	if (imap_literal_tail(line, &n, &wait)) {
		literal_begins(s, n, wait);
		return;
	}
	l->n -= 2;
	imap_dispatch(s);
}

size_t imap_line_input(struct imap_session *s, struct bytes data)
{
	struct imap_line *l = &s->line;
	ptrdiff_t lf = l->literal_left ? -1 : bytes_find(data, '\n', 0);
	size_t n = l->literal_left ? MIN(data.n, (size_t)l->literal_left)
		   : lf < 0        ? data.n
				   : (size_t)lf + 1;

	if (l->skip)
		return skip_input(s, data);
	if (!line_grow(s, n))
		return 0;
	if (l->skip) {
		/* What still fits may hold the tag. */
		size_t fits = MIN(n, (size_t)(l->cap - l->n));
		memcpy(l->p + l->n, data.p, fits);
		l->n += (uint32_t)fits;
		l->skip_left = l->literal_left;
		return skip_input(s, data);
	}
	memcpy(l->p + l->n, data.p, n);
	l->n += (uint32_t)n;
	if (l->literal_left) {
		l->literal_left -= (uint32_t)n;
		l->from = l->n;
	} else if (lf >= 0) {
		line_end(s);
	}
	return n;
}
