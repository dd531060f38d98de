/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/conv/smtp_fake.h"

static const char *const relay_domains[] = {"relay.example.org"};
static struct ip_net relay_from[1], xclient_from[1];

static enum directory_verdict lookup(
	const struct directory *d, struct bytes address, struct directory_entry *entry_r)
{
	static const struct {
		const char *address;
		enum directory_verdict verdict;
	} users[] = {
		{"alice@local.example.org",   DIRECTORY_OK        },
		{"bob@local.example.org",     DIRECTORY_OK        },
		{"postmaster@mx.example.org", DIRECTORY_OK        },
		{"full@local.example.org",    DIRECTORY_OVER_QUOTA},
		{"off@local.example.org",     DIRECTORY_DISABLED  },
	};

	(void)d;
	for (unsigned i = 0; i < ARRAY_LEN(users); i++) {
		if (bytes_ieq(address, bytes_str(users[i].address))) {
			entry_r->account = i + 1;
			return users[i].verdict;
		}
	}
	ptrdiff_t at = bytes_rfind(address, '@');
	struct bytes domain = bytes_skip(address, (size_t)(at + 1));
	return bytes_eq(domain, BYTES_LIT("local.example.org")) ? DIRECTORY_UNKNOWN_USER
								: DIRECTORY_REMOTE;
}

static void copy_text(char *out, struct bytes in)
{
	BUG_ON(in.n > ADDRESS_MAX);
	if (in.n)
		memcpy(out, in.p, in.n);
	out[in.n] = '\0';
}

static enum reply_id verdict(struct smtp_fake *f, enum smtp_stage stage)
{
	return f->park == stage ? REPLY_PENDING : REPLY_OK;
}

static enum reply_id on_connect(void *ctx)
{
	return verdict(ctx, STAGE_CONNECT);
}

static void on_peer(void *ctx, const struct ip_addr *ip)
{
	struct smtp_fake *f = ctx;

	BUG_ON(f->open || !ip_eq(ip, &f->session.peer));
}

static enum reply_id on_helo(void *ctx, struct bytes name)
{
	BUG_ON(name.n == 0);
	return verdict(ctx, STAGE_HELO);
}

static enum reply_id on_auth(void *ctx, struct bytes user, struct bytes password)
{
	struct smtp_fake *f = ctx;
	bool right = bytes_ieq(user, BYTES_LIT("alice@local.example.org")) &&
		     bytes_eq(password, BYTES_LIT("secret"));

	if (right)
		smtp_session_authenticated(&f->session, 1);
	if (f->park == STAGE_AUTH)
		return REPLY_PENDING;
	return right ? REPLY_OK : REPLY_AUTH_FAILED;
}

/* Made once: it takes its time. */
static const struct scram_record *alices_record(void)
{
	static struct scram_record r;

	if (r.iterations == 0)
		BUG_ON(scram_derive(&r, BYTES_LIT("secret")) < 0);
	return &r;
}

static enum reply_id on_scram(void *ctx, struct bytes user)
{
	static const uint8_t secret[16] = "sixteen octets.";
	struct smtp_fake *f = ctx;
	struct scram_record fake;
	bool known = bytes_ieq(user, BYTES_LIT("alice@local.example.org"));

	scram_fake(&fake, user, secret);
	smtp_session_scram(&f->session, known ? alices_record() : &fake, known, known);
	return f->park == STAGE_AUTH ? REPLY_PENDING : REPLY_AUTH_CHALLENGE;
}

static size_t on_channel(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX])
{
	const struct smtp_fake *f = ctx;

	memset(out, kind == SCRAM_CHANNEL_EXPORTER ? 'c' : 'e', 32);
	return f->has_channel ? 32 : 0;
}

static enum reply_id on_mail(void *ctx, const struct smtp_mail *mail)
{
	struct smtp_fake *f = ctx;

	BUG_ON(f->open);
	f->open = true;
	f->rcpts = 0;
	f->body_n = 0;
	copy_text(f->sender, mail->sender);
	snprintf(f->mail_says, sizeof(f->mail_says), "ret=%d envid=%.*s body=%d utf8=%d tls=%d",
		mail->ret, (int)mail->envid.n, mail->envid.p, mail->body, mail->smtputf8,
		mail->requiretls);
	if (mail->priority) {
		size_t n = strlen(f->mail_says);
		snprintf(
			f->mail_says + n, sizeof(f->mail_says) - n, " priority=%d", mail->priority);
	}
	return verdict(f, STAGE_MAIL);
}

static enum reply_id on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	struct smtp_fake *f = ctx;

	BUG_ON(!f->open);
	f->rcpts++;
	f->route = rcpt->route;
	copy_text(f->rcpt, rcpt->address);
	snprintf(f->dsn_says, sizeof(f->dsn_says), "notify=%d orcpt=%.*s", rcpt->dsn.notify,
		(int)rcpt->dsn.orcpt.n, rcpt->dsn.orcpt.p);
	return verdict(f, STAGE_RCPT);
}

static enum reply_id on_data(void *ctx)
{
	struct smtp_fake *f = ctx;

	BUG_ON(!f->open);
	return verdict(f, STAGE_DATA);
}

static size_t room(void *ctx, size_t want)
{
	struct smtp_fake *f = ctx;

	return MIN(want, f->room);
}

static void content(void *ctx, struct bytes run)
{
	struct smtp_fake *f = ctx;
	size_t n = MIN(run.n, FAKE_BODY_MAX - f->body_n);

	BUG_ON(!f->open);
	memcpy(f->body + f->body_n, run.p, n);
	f->body_n += n;
}

static enum reply_id on_end(void *ctx, const struct smtp_content *c)
{
	struct smtp_fake *f = ctx;

	BUG_ON(!f->open);
	f->content = *c;
	if (f->park == STAGE_END)
		return REPLY_PENDING;
	f->open = false;
	if (f->end_verdict)
		return f->end_verdict;
	f->messages++;
	smtp_session_refused(&f->session, f->refused);
	if (f->hold_commits)
		f->held_slot[f->held++] = c->slot;
	else
		smtp_session_committed(&f->session, c->slot, REPLY_QUEUED, ++f->ids);
	return REPLY_SUBMITTED;
}

static void on_reset(void *ctx)
{
	struct smtp_fake *f = ctx;

	BUG_ON(!f->open);
	f->open = false;
	f->resets++;
}

static void *line_get(void *ctx)
{
	struct smtp_fake *f = ctx;

	uint8_t **line = f->line[0] ? &f->line[1] : &f->line[0];

	BUG_ON(*line);
	*line = f->no_line ? NULL : malloc(SMTP_LINE_MAX);
	return *line;
}

static void line_put(void *ctx, void *line)
{
	struct smtp_fake *f = ctx;

	uint8_t **mine = line == f->line[0] ? &f->line[0] : &f->line[1];

	BUG_ON(!line || *mine != line);
	free(line);
	*mine = NULL;
}

static const struct smtp_session_ops ops = {
	.connect = on_connect,
	.helo = on_helo,
	.peer = on_peer,
	.auth = on_auth,
	.scram = on_scram,
	.channel = on_channel,
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.room = room,
	.content = content,
	.end = on_end,
	.reset = on_reset,
	.line_get = line_get,
	.line_put = line_put,
};

static void make_policy(struct smtp_fake *f)
{
	int err = ip_net_parse(BYTES_LIT("198.18.0.0/24"), &relay_from[0]);

	BUG_ON(err);
	err = ip_net_parse(BYTES_LIT("198.18.7.0/24"), &xclient_from[0]);
	BUG_ON(err);
	f->directory.lookup = lookup;
	f->policy = (struct smtp_policy){.hostname = "mx.example.org",
		.directory = &f->directory,
		.relay_from = relay_from,
		.relay_from_count = 1,
		.xclient_from = xclient_from,
		.xclient_from_count = 1,
		.relay_domains = relay_domains,
		.relay_domain_count = 1,
		.message_bytes_max = 100000,
		.recipients_max = 100,
		.errors_max = 20,
		.received_max = 100,
		.inflight_max = 4};
}

void smtp_fake_init(struct smtp_fake *f, const char *peer)
{
	struct ip_addr ip;

	memset(f, 0, sizeof(*f));
	int err = ip_parse(bytes_str(peer), &ip);
	BUG_ON(err);
	make_policy(f);
	f->room = SIZE_MAX;
	smtp_session_init(&f->session, &ops, f, &f->policy, &f->service, &ip);
}

void smtp_fake_fini(struct smtp_fake *f)
{
	smtp_session_fini(&f->session);
	BUG_ON(f->open || f->line[0] || f->line[1]);
}

void smtp_fake_flush(struct smtp_fake *f)
{
	while (smtp_session_has_output(&f->session)) {
		uint8_t memory[REPLY_OCTETS_MAX];
		struct buf out;
		buf_init(&out, memory, sizeof(memory));
		smtp_session_output(&f->session, &out);
		BUG_ON(out.n == 0);
		/* Send in odd pieces: replies are cut anywhere. */
		size_t n = MIN(out.n, (size_t)(1 + f->out_n % 7 * 40));
		n = MIN(n, FAKE_OUT_MAX - 1 - f->out_n);
		if (n == 0)
			n = out.n; /* full: thrown away */
		else
			memcpy(f->out + f->out_n, out.p, n), f->out_n += n;
		smtp_session_sent(&f->session, n);
	}
}

size_t smtp_fake_input(struct smtp_fake *f, struct bytes group, size_t piece)
{
	size_t used = 0;
	bool early = false;

	while (used < group.n) {
		size_t n = group.n - used;
		if (piece)
			n = MIN(n, piece);
		/* An exact-size copy, so that a sanitizer sees an overread. */
		uint8_t *copy = malloc(n);
		memcpy(copy, group.p + used, n);
		size_t took = smtp_session_input(&f->session, bytes_make(copy, n), early);
		free(copy);
		BUG_ON(took > n);
		used += took;
		if (took == n)
			continue; /* the group goes on before any reply was seen */
		/* What is sent now the peer cannot have seen when it sent the rest. */
		bool due = smtp_session_has_output(&f->session);
		smtp_fake_flush(f);
		early = early || due;
		if (took == 0 && !due)
			break;
	}
	smtp_fake_flush(f);
	return used;
}

void smtp_fake_commit(struct smtp_fake *f, enum reply_id reply)
{
	BUG_ON(f->held == 0);
	smtp_session_committed(&f->session, f->held_slot[0], reply, ++f->ids);
	f->held--;
	memmove(f->held_slot, f->held_slot + 1, f->held * sizeof(f->held_slot[0]));
	smtp_fake_flush(f);
}

const char *smtp_fake_replies(struct smtp_fake *f)
{
	f->out[f->out_n] = '\0';
	f->out_n = 0;
	return (const char *)f->out;
}
