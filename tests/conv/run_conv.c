/* SPDX-License-Identifier: BSD-3-Clause
 * Runs conversation scripts against the SMTP session engine, each whole and in pieces of 1, 2, 3, 5
 * and 7 octets:
 *
 *   # comment
 *   C: text          the client sends text and CRLF; C lines in a row go in one group, unanswered
 *   C|text           without CRLF.  Escapes in both: \r \n \0 \t \\ \xNN, \*N(text) repeats
 *   S: 250 2.1.0     the server's next reply line begins with this
 *   S: 250-...       a whole reply of several lines with this code
 *   S: (none)        nothing was said
 *   @peer ADDRESS    a new session from there (first in the script; default 198.18.1.1)
 *   @service WORDS   the session's listener: tls, implicit, submission, auth, clear, lmtp
 *   @refused BITS    LMTP: recipients that the store refuses, bit 0 the first
 *   @header_max N    octets of a header, at most
 *   @strict_helo     strangers need a HELO name with a dot
 *   @channel         TLS has keying material to bind to
 *   @secured         the TLS handshake is done; before that the session must have asked for it
 *   @hold            commits wait for @commit [REPLY CODE]
 *   @park STAGE      verdicts of connect, helo, mail, rcpt, data, end are pending until @verdict
 *   @verdict NNN     0: go on, else the first reply of that code
 *   @messages N      accepted so far     @sender TEXT    @rcpt TEXT    @body TEXT
 *   @mail TEXT       the parameters of the last MAIL    @dsn TEXT   those of the last RCPT
 *   @messages_max N  of this session, at most
 *   @closed          the session is finished
 */
#include "tests/conv/smtp_fake.h"
#include "dataplane/base/codec.h"

#define SCRIPT_LINE_MAX 4096
#define GROUP_MAX       (1u << 20)

struct run {
	struct smtp_fake *fake;
	const char *file;
	unsigned line;
	size_t piece;
	struct buf group;   /* what the client sends next */
	struct buf replies; /* what the server said and no S line has claimed */
	bool started;
	bool failed;
};

static void complain(struct run *r, const char *what, const char *detail)
{
	fprintf(stderr, "%s:%u (pieces of %zu): %s: %s\n", r->file, r->line, r->piece, what,
		detail);
	r->failed = true;
}

static void repeat(struct buf *out, const char **p)
{
	char *end;
	unsigned long n = strtoul(*p, &end, 10);
	const char *close = *end == '(' ? strchr(end, ')') : NULL;

	BUG_ON(!close);
	for (unsigned long i = 0; i < n; i++)
		buf_put(out, bytes_make(end + 1, (size_t)(close - end - 1)));
	*p = close + 1;
}

static void unescape(struct buf *out, const char *p)
{
	uint64_t v;

	while (*p) {
		if (*p != '\\') {
			buf_byte(out, (uint8_t)*p++);
			continue;
		}
		p += 2;
		switch (p[-1]) {
		case 'r':
			buf_byte(out, '\r');
			break;
		case 'n':
			buf_byte(out, '\n');
			break;
		case 't':
			buf_byte(out, '\t');
			break;
		case '0':
			buf_byte(out, 0);
			break;
		case 'x':
			BUG_ON(hex_to_u64(bytes_make(p, 2), &v) < 0);
			buf_byte(out, (uint8_t)v);
			p += 2;
			break;
		case '*':
			repeat(out, &p);
			break;
		default:
			buf_byte(out, (uint8_t)p[-1]);
		}
	}
	BUG_ON(out->overflow);
}

static void begin(struct run *r, const char *peer)
{
	if (r->started)
		smtp_fake_fini(r->fake);
	smtp_fake_init(r->fake, peer);
	r->started = true;
	r->group.n = 0;
	r->replies.n = 0;
	smtp_session_start(&r->fake->session);
	smtp_fake_flush(r->fake);
}

/* Send the group; what is not taken stays for the next time. */
static void exchange(struct run *r)
{
	size_t n = smtp_fake_input(r->fake, buf_view(&r->group), r->piece);

	buf_consume(&r->group, n);
	buf_str(&r->replies, smtp_fake_replies(r->fake));
	BUG_ON(r->replies.overflow);
}

/* "250-...": lines up to the first that is the last of its reply. */
static void expect_lines(struct run *r, const char *want)
{
	ptrdiff_t end;
	bool last = false;

	while (!last && (end = bytes_find(buf_view(&r->replies), '\n', 0)) >= 4) {
		struct bytes line = bytes_first(buf_view(&r->replies), (size_t)end + 1);
		last = line.p[3] == ' ';
		if (memcmp(line.p, want, 3) != 0)
			complain(r, want, "another code");
		buf_consume(&r->replies, line.n);
	}
	if (!last)
		complain(r, "no reply", want);
}

static void expect(struct run *r, const char *want)
{
	exchange(r);
	if (strcmp(want + strcspn(want, "-"), "-...") == 0) {
		expect_lines(r, want);
		return;
	}
	struct bytes said = buf_view(&r->replies);
	ptrdiff_t end = bytes_find(said, '\n', 0);
	bool none = strcmp(want, "(none)") == 0;

	if (end < 0) {
		if (!none)
			complain(r, "no reply", want);
		return;
	}
	char line[REPLY_OCTETS_MAX + 1];
	snprintf(line, sizeof(line), "%.*s", (int)(end - 1), said.p);
	if (none || strncmp(line, want, strlen(want)) != 0)
		complain(r, want, line);
	buf_consume(&r->replies, (size_t)end + 1);
}

static enum reply_id reply_with_code(unsigned code)
{
	if (code == 0)
		return REPLY_OK;
	for (unsigned i = REPLY_SUBMITTED + 1; i < REPLY_N; i++) {
		if (reply_code((enum reply_id)i) == code)
			return (enum reply_id)i;
	}
	BUG_ON(true);
}

static enum smtp_stage stage_named(const char *name)
{
	static const char *const names[] = {
		"none", "connect", "helo", "auth", "mail", "rcpt", "data", "end"};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) == 0)
			return (enum smtp_stage)i;
	}
	BUG_ON(true);
}

static void check_text(struct run *r, const char *what, struct bytes got, const char *escaped)
{
	uint8_t memory[SCRIPT_LINE_MAX];
	struct buf want;

	buf_init(&want, memory, sizeof(memory));
	unescape(&want, escaped);
	if (!bytes_eq(got, buf_view(&want)))
		complain(r, what, escaped);
}

static void verdict(struct run *r, unsigned code)
{
	struct smtp_fake *f = r->fake;
	bool end = f->session.stage == STAGE_END;
	enum reply_id v = reply_with_code(code);

	f->park = STAGE_NONE;
	if (end || (v != REPLY_OK && f->session.stage == STAGE_MAIL))
		f->open = false; /* a refused transaction leaves nothing behind */
	if (end && v == REPLY_OK) {
		f->messages++;
		smtp_session_committed(&f->session, f->content.slot, REPLY_QUEUED, ++f->ids);
		v = REPLY_SUBMITTED;
	}
	smtp_session_verdict(&f->session, v);
	smtp_fake_flush(f);
}

static void set_service(struct run *r, const char *words)
{
	struct smtp_service *s = &r->fake->service;

	*s = (struct smtp_service){.port = 25,
		.tls = strstr(words, "tls"),
		.implicit_tls = strstr(words, "implicit"),
		.lmtp = strstr(words, "lmtp"),
		.submission = strstr(words, "submission"),
		.auth = strstr(words, "auth"),
		.auth_in_clear = strstr(words, "clear")};
}

static void secured(struct run *r)
{
	struct smtp_fake *f = r->fake;

	if (!smtp_session_wants_tls(&f->session))
		complain(r, "secured", "STARTTLS was not accepted");
	smtp_session_secured(&f->session);
}

static void directive(struct run *r, const char *name, const char *arg)
{
	struct smtp_fake *f = r->fake;

	if (strcmp(name, "peer") == 0) {
		begin(r, arg);
		return;
	}
	exchange(r);
	if (strcmp(name, "hold") == 0)
		f->hold_commits = true;
	else if (strcmp(name, "commit") == 0)
		smtp_fake_commit(f, *arg ? reply_with_code((unsigned)atoi(arg)) : REPLY_QUEUED);
	else if (strcmp(name, "park") == 0)
		f->park = stage_named(arg);
	else if (strcmp(name, "verdict") == 0)
		verdict(r, (unsigned)atoi(arg));
	else if (strcmp(name, "messages") == 0)
		f->messages == (unsigned)atoi(arg) ? (void)0 : complain(r, "messages", arg);
	else if (strcmp(name, "sender") == 0)
		check_text(r, "sender", bytes_str(f->sender), arg);
	else if (strcmp(name, "rcpt") == 0)
		check_text(r, "rcpt", bytes_str(f->rcpt), arg);
	else if (strcmp(name, "mail") == 0)
		check_text(r, "mail", bytes_str(f->mail_says), arg);
	else if (strcmp(name, "dsn") == 0)
		check_text(r, "dsn", bytes_str(f->dsn_says), arg);
	else if (strcmp(name, "header_max") == 0)
		f->policy.header_bytes_max = (uint32_t)atoi(arg);
	else if (strcmp(name, "strict_helo") == 0)
		f->policy.strict_helo = true;
	else if (strcmp(name, "channel") == 0)
		f->has_channel = true;
	else if (strcmp(name, "refused") == 0)
		f->refused[0] = (uint64_t)atoi(arg);
	else if (strcmp(name, "messages_max") == 0)
		f->policy.session_messages_max = (uint32_t)atoi(arg);
	else if (strcmp(name, "domains_max") == 0)
		f->policy.session_domains_max = (uint32_t)atoi(arg);
	else if (strcmp(name, "body") == 0)
		check_text(r, "body", bytes_make(f->body, f->body_n), arg);
	else if (strcmp(name, "service") == 0)
		set_service(r, arg);
	else if (strcmp(name, "secured") == 0)
		secured(r);
	else if (strcmp(name, "closed") == 0)
		smtp_session_finished(&f->session) ? (void)0 : complain(r, "closed", "it is not");
	else
		complain(r, "unknown directive", name);
}

static void step(struct run *r, char *text)
{
	text[strcspn(text, "\n")] = '\0';
	if (*text == '\0' || *text == '#')
		return;
	if (!r->started && strncmp(text, "@peer", 5) != 0)
		begin(r, "198.18.1.1");
	if (strncmp(text, "C: ", 3) == 0 || strcmp(text, "C:") == 0) {
		unescape(&r->group, text + MIN((size_t)3, strlen(text)));
		buf_str(&r->group, "\r\n");
	} else if (strncmp(text, "C|", 2) == 0) {
		unescape(&r->group, text + 2);
	} else if (strncmp(text, "S: ", 3) == 0) {
		expect(r, text + 3);
	} else if (*text == '@') {
		char *arg = strchr(text, ' ');
		if (arg)
			*arg++ = '\0';
		directive(r, text + 1, arg ? arg : "");
	} else {
		complain(r, "bad script line", text);
	}
}

static bool run_script(const char *file, size_t piece)
{
	static struct smtp_fake fake;
	static uint8_t group[GROUP_MAX], replies[FAKE_OUT_MAX];
	char text[SCRIPT_LINE_MAX];
	struct run r = {.fake = &fake, .file = file, .piece = piece};
	FILE *in = fopen(file, "r");

	if (!in) {
		perror(file);
		return false;
	}
	buf_init(&r.group, group, sizeof(group));
	buf_init(&r.replies, replies, sizeof(replies));
	while (!r.failed && fgets(text, sizeof(text), in)) {
		r.line++;
		step(&r, text);
	}
	fclose(in);
	if (!r.failed && r.started)
		expect(&r, "(none)");
	if (r.started)
		smtp_fake_fini(&fake);
	return !r.failed;
}

int main(int argc, char **argv)
{
	static const size_t pieces[] = {0, 1, 2, 3, 5, 7};
	unsigned failed = 0;

	for (int i = 1; i < argc; i++) {
		for (unsigned k = 0; k < ARRAY_LEN(pieces); k++)
			failed += !run_script(argv[i], pieces[k]);
	}
	return failed ? 1 : 0;
}
