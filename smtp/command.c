/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/command.h"
#include "smtp/utf8.h"

#define VERB_MIN 4 /* letters of the shortest verb */

/* Of a verb its first letters, folded: no two have the same. */
#define VERB_KEY(p)                                                                                \
	(((uint32_t)(uint8_t)(p)[0] | (uint32_t)(uint8_t)(p)[1] << 8 |                             \
		 (uint32_t)(uint8_t)(p)[2] << 16 | (uint32_t)(uint8_t)(p)[3] << 24) |              \
		0x20202020)

struct verb {
	struct bytes name;
	uint32_t key;
	uint16_t limit;
};

static const struct verb verbs[COMMAND_N] = {
	[COMMAND_UNKNOWN] = {.limit = 512},
#define COMMAND(id, limit_, states, junk, handler)                                                 \
	[COMMAND_##id] = {BYTES_LIT(#id), VERB_KEY(#id), limit_},
#include "smtp/command.def"
#undef COMMAND
};

/* First words of protocols that browsers can be made to speak to port 25. */
static const struct bytes foreign_words[] = {
	BYTES_LIT("GET"),
	BYTES_LIT("POST"),
	BYTES_LIT("PUT"),
	BYTES_LIT("HEAD"),
	BYTES_LIT("DELETE"),
	BYTES_LIT("OPTIONS"),
	BYTES_LIT("CONNECT"),
	BYTES_LIT("TRACE"),
	BYTES_LIT("PATCH"),
	BYTES_LIT("PRI"),
};

/* Octets of the line without CRLF, or -1. */
static ptrdiff_t find_crlf(struct bytes in)
{
	ptrdiff_t at = 0;

	while ((at = bytes_find(in, '\n', (size_t)at)) >= 0) {
		if (at > 0 && in.p[at - 1] == '\r')
			return at - 1;
		at++;
	}
	return -1;
}

static struct bytes trim_end(struct bytes b)
{
	while (b.n && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t'))
		b.n--;
	return b;
}

static enum command_verb verb_find(struct bytes word)
{
	if (word.n < VERB_MIN)
		return COMMAND_UNKNOWN;
	/* Folded like that only letters become letters: the key is compared as a whole. */
	uint32_t key = VERB_KEY(word.p);
	for (unsigned i = COMMAND_UNKNOWN + 1; i < COMMAND_N; i++) {
		if (key != verbs[i].key)
			continue;
		return bytes_ieq(bytes_skip(word, VERB_MIN), bytes_skip(verbs[i].name, VERB_MIN))
			       ? (enum command_verb)i
			       : COMMAND_UNKNOWN;
	}
	return COMMAND_UNKNOWN;
}

/* "Subject: x" or an HTTP request line. */
static bool is_foreign(struct bytes word)
{
	if (word.n > 1 && bytes_find(word, ':', 0) > 0)
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(foreign_words); i++) {
		if (bytes_ieq(word, foreign_words[i]))
			return true;
	}
	return false;
}

enum command_verdict command_parse(struct bytes in, struct command *cmd_r, size_t *used_r)
{
	struct bytes window = bytes_first(in, SMTP_LINE_MAX);
	ptrdiff_t n = find_crlf(window);

	*cmd_r = (struct command){0};
	*used_r = 0;
	if (n < 0)
		return in.n >= SMTP_LINE_MAX ? COMMAND_TOO_LONG : COMMAND_MORE;
	struct bytes line = bytes_first(in, (size_t)n);
	*used_r = line.n + 2;
	ptrdiff_t space =
		line.n > VERB_MIN && line.p[VERB_MIN] == ' ' ? VERB_MIN : bytes_find(line, ' ', 0);
	cmd_r->word = space < 0 ? trim_end(line) : bytes_first(line, (size_t)space);
	cmd_r->verb = verb_find(cmd_r->word);
	if (*used_r > verbs[cmd_r->verb].limit)
		return COMMAND_TOO_LONG;
	unsigned kinds = octet_kinds(line);
	cmd_r->utf8 = kinds & OCTET_BEYOND;
	if (kinds & OCTET_CONTROL || (cmd_r->utf8 && !utf8_valid(line)))
		return COMMAND_BAD;
	if (cmd_r->verb == COMMAND_UNKNOWN && is_foreign(cmd_r->word))
		return COMMAND_FOREIGN;
	if (space >= 0)
		cmd_r->argument = trim_end(bytes_skip(line, (size_t)space + 1));
	return COMMAND_OK;
}

enum command_verdict command_line(struct bytes in, struct bytes *line_r, size_t *used_r)
{
	ptrdiff_t n = find_crlf(bytes_first(in, SMTP_LINE_MAX));

	*line_r = BYTES_NONE;
	*used_r = 0;
	if (n < 0)
		return in.n >= SMTP_LINE_MAX ? COMMAND_TOO_LONG : COMMAND_MORE;
	*used_r = (size_t)n + 2;
	*line_r = bytes_first(in, (size_t)n);
	return octet_kinds(*line_r) == 0 ? COMMAND_OK : COMMAND_BAD;
}

bool command_looks_like_tls(struct bytes in)
{
	/* RFC 8446 5.1: a handshake record; no SMTP line begins with this octet. */
	return in.n > 0 && in.p[0] == 0x16;
}
