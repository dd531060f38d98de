/* SPDX-License-Identifier: BSD-3-Clause
 * Every command in every state of the SMTP session: one table of what is answered.  Each cell is a
 * session of its own, brought into the state, then the command, whole and octet by octet. */
#include "tests/conv/smtp_fake.h"

/* The states, and how a client gets there. */
enum column { START, READY, MAIL, RCPT, BDAT, AUTH, SECURED, READY_TLS, KNOWN, COLUMN_N };

#define EHLO     "EHLO x\r\n"
#define SENDER   "MAIL FROM:<a@client.example.net>\r\n"
#define RCPT_TO  "RCPT TO:<alice@local.example.org>\r\n"
#define PASSWORD "AGFsaWNlQGxvY2FsLmV4YW1wbGUub3JnAHNlY3JldA=="

static const struct {
	const char *name, *clear, *secure; /* said before STARTTLS, and behind it */
	bool in_clear;                     /* AUTH is allowed without TLS */
} columns[COLUMN_N] = {
	[START] = {"START",     "",				     NULL,                               false},
	[READY] = {"READY",     EHLO,				   NULL,                               false},
	[MAIL] = {"MAIL",      EHLO SENDER,                            NULL,                               false},
	[RCPT] = {"RCPT",      EHLO SENDER RCPT_TO,                    NULL,                               false},
	[BDAT] = {"BDAT",      EHLO SENDER RCPT_TO "BDAT 4\r\nx\r\ny", NULL,                               false},
	[AUTH] = {"AUTH",      EHLO "AUTH PLAIN\r\n",                  NULL,                               true },
	[SECURED] = {"SECURED",   EHLO "STARTTLS\r\n",                    "",                                 false},
	[READY_TLS] = {"READY_TLS", EHLO "STARTTLS\r\n",                    EHLO,                               false},
	[KNOWN] = {"KNOWN",     EHLO "STARTTLS\r\n",                    EHLO "AUTH PLAIN " PASSWORD "\r\n", false},
};

/* Beginnings of the reply.  Inside AUTH a command is a response: what is no base64 is a syntax
 * error, and what is, a wrong password.  `-`: the session ends with it. */
static const struct {
	const char *line;
	const char *want[COLUMN_N];
} rows[] = {
#define ALL(r)         r, r, r, r, r
#define ROW(line, ...) {line, {__VA_ARGS__}},
	/*                    START  READY  MAIL   RCPT   BDAT   AUTH   SECURED  READY_TLS  KNOWN */
	ROW("HELO x", ALL("250 mx"), "501 5.5.2", "250 mx", "250 mx", "250 mx") ROW(
		"EHLO x", ALL("250-mx"), "501 5.5.2", "250-mx", "250-mx", "250-mx") ROW("EHLO",
		ALL("501 5.5.4"), "535 5.7.8", "501 5.5.4", "501 5.5.4",
		"501 5.5.4") ROW("LHLO x", ALL("500 5.5.2"), "501 5.5.2", "500 5.5.2", "500 5.5.2",
		"500 5.5.2") ROW("MAIL FROM:<a@client.example.net>", "503 5.5.1", "250 2.1.0",
		"503 5.5.1", "503 5.5.1", "503 5.5.1", "501 5.5.2", "503 5.5.1", "250 2.1.0",
		"250 2.1.0") ROW("MAIL FROM:a", "503 5.5.1", "501 5.1.7", "503 5.5.1", "503 5.5.1",
		"503 5.5.1", "501 5.5.2", "503 5.5.1", "501 5.1.7",
		"501 5.1.7") ROW("RCPT TO:<alice@local.example.org>", "503 5.5.1", "503 5.5.1",
		"250 2.1.5", "250 2.1.5", "503 5.5.1", "501 5.5.2", "503 5.5.1", "503 5.5.1",
		"503 5.5.1") ROW("RCPT TO:<x@elsewhere.example.com>", "503 5.5.1", "503 5.5.1",
		"554 5.7.1", "554 5.7.1", "503 5.5.1", "501 5.5.2", "503 5.5.1", "503 5.5.1",
		"503 5.5.1") ROW("DATA", "503 5.5.1", "503 5.5.1", "503 5.5.1", "354 End",
		"503 5.5.1", "535 5.7.8", "503 5.5.1", "503 5.5.1", "503 5.5.1") ROW("BDAT 0 LAST",
		"503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0", "250 2.0.0", "501 5.5.2",
		"503 5.5.1", "503 5.5.1", "503 5.5.1") ROW("BDAT x", ALL("-501 5.5.4"), "501 5.5.2",
		"-501 5.5.4", "-501 5.5.4", "-501 5.5.4") ROW("STARTTLS", "503 5.5.1", "220 2.0.0",
		"503 5.5.1", "503 5.5.1", "503 5.5.1", "535 5.7.8", "503 5.5.1", "503 5.5.1",
		"503 5.5.1") ROW("AUTH PLAIN " PASSWORD, "503 5.5.1", "538 5.7.11", "503 5.5.1",
		"503 5.5.1", "503 5.5.1", "501 5.5.2", "503 5.5.1", "235 2.7.0",
		"503 5.5.1") ROW("XCLIENT ADDR=198.18.0.1", "502 5.5.1", "502 5.5.1", "503 5.5.1",
		"503 5.5.1", "503 5.5.1", "501 5.5.2", "502 5.5.1", "502 5.5.1",
		"502 5.5.1") ROW("RSET", ALL("250 2.0.0"), "535 5.7.8", "250 2.0.0", "250 2.0.0",
		"250 2.0.0") ROW("RSET x", ALL("501 5.5.4"), "501 5.5.2", "501 5.5.4", "501 5.5.4",
		"501 5.5.4") ROW("NOOP", ALL("250 2.0.0"), "535 5.7.8", "250 2.0.0", "250 2.0.0",
		"250 2.0.0") ROW("VRFY alice", ALL("252 2.5.0"), "501 5.5.2", "252 2.5.0",
		"252 2.5.0", "252 2.5.0") ROW("HELP", ALL("214 2.0.0"), "535 5.7.8", "214 2.0.0",
		"214 2.0.0", "214 2.0.0") ROW("QUIT", ALL("-221 2.0.0"), "535 5.7.8", "-221 2.0.0",
		"-221 2.0.0", "-221 2.0.0") ROW("EXPN list", ALL("502 5.5.1"), "501 5.5.2",
		"502 5.5.1", "502 5.5.1", "502 5.5.1") ROW("ETRN x", ALL("502 5.5.1"), "501 5.5.2",
		"502 5.5.1", "502 5.5.1", "502 5.5.1") ROW("TURN", ALL("502 5.5.1"), "535 5.7.8",
		"502 5.5.1", "502 5.5.1", "502 5.5.1") ROW("WIZ", ALL("500 5.5.2"), "501 5.5.2",
		"500 5.5.2", "500 5.5.2", "500 5.5.2")
		ROW("", ALL("500 5.5.2"), "535 5.7.8", "500 5.5.2", "500 5.5.2", "500 5.5.2") ROW(
			"GET / HTTP/1.1", ALL("-554 5.5.0"), "501 5.5.2", "-554 5.5.0",
			"-554 5.5.0", "-554 5.5.0") ROW("\xc3\xa4", ALL("500 5.5.2"), "501 5.5.2",
			"500 5.5.2", "500 5.5.2", "500 5.5.2") ROW("NOOP\x01", ALL("500 5.5.2"),
			"501 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2")
#undef ROW
#undef ALL
};

/* Line by line: each is answered before the next. */
static void say(struct smtp_fake *f, const char *text, size_t piece)
{
	struct bytes all = bytes_str(text);

	while (all.n) {
		ptrdiff_t end = bytes_find(all, '\n', 0);
		struct bytes line = end < 0 ? all : bytes_first(all, (size_t)end + 1);
		size_t n = smtp_fake_input(f, line, piece);
		BUG_ON(n != line.n);
		all = bytes_skip(all, line.n);
	}
}

static void bring(struct smtp_fake *f, enum column c)
{
	smtp_fake_init(f, "198.18.1.1");
	f->service = (struct smtp_service){
		.tls = true, .auth = true, .auth_in_clear = columns[c].in_clear};
	smtp_session_start(&f->session);
	smtp_fake_flush(f);
	say(f, columns[c].clear, 0);
	if (columns[c].secure) {
		BUG_ON(!smtp_session_wants_tls(&f->session));
		smtp_session_secured(&f->session);
		say(f, columns[c].secure, 0);
	}
	smtp_fake_replies(f);
}

static bool cell(unsigned r, enum column c, size_t piece)
{
	static struct smtp_fake f;
	char line[200];
	const char *want = rows[r].want[c];
	bool ends = *want == '-';

	bring(&f, c);
	snprintf(line, sizeof(line), "%s\r\n", rows[r].line);
	say(&f, line, piece);
	const char *said = smtp_fake_replies(&f);
	bool right = strncmp(said, want + ends, strlen(want + ends)) == 0 &&
		     smtp_session_finished(&f.session) == ends;
	if (!right)
		fprintf(stderr, "\"%s\" in %s: wanted %s, got %s\n", rows[r].line, columns[c].name,
			want, said);
	smtp_fake_fini(&f);
	return right;
}

/* No verb may be forgotten. */
static bool has_row(const char *verb)
{
	for (unsigned r = 0; r < ARRAY_LEN(rows); r++) {
		if (strncmp(rows[r].line, verb, strlen(verb)) == 0)
			return true;
	}
	fprintf(stderr, "no row for %s\n", verb);
	return false;
}

int main(void)
{
	unsigned wrong = 0;

#define COMMAND(id, limit, states, junk, handler) wrong += !has_row(#id);
#include "smtp/command.def"
#undef COMMAND
	for (unsigned r = 0; r < ARRAY_LEN(rows); r++) {
		for (unsigned c = 0; c < COLUMN_N; c++) {
			wrong += !cell(r, (enum column)c, 0);
			wrong += !cell(r, (enum column)c, 1);
		}
	}
	return wrong ? 1 : 0;
}
