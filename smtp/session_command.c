/* SPDX-License-Identifier: BSD-3-Clause
 * The verbs: which state takes which (command.def), and what each does. */
#include <errno.h>
#include "smtp/session_priv.h"
#include "dataplane/base/crc32c.h"
#include "smtp/param.h"
#include "smtp/relay.h"
#include "smtp/utf8.h"

#define IN(state)   (1u << SMTP_##state)
#define IN_COMMANDS (IN(START) | IN(READY) | IN(MAIL) | IN(RCPT) | IN(BDAT))

/* Letters that host names have in practice, and those of address literals.  Nothing here can end a
 * line, a comment or a quoted string in Received or in a log. */
static bool is_helo_octet(uint8_t c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || strchr("-._:[]", c);
}

static bool helo_valid(struct bytes name)
{
	if (name.n == 0 || name.n > SMTP_HELO_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == 0 || !is_helo_octet(name.p[i]))
			return false;
	}
	return true;
}

/* A stranger at port 25 has a name of his own, with a dot in it, or an address. */
static bool helo_is_honest(const struct smtp_session *s, struct bytes name)
{
	if (s->service->submission || s->service->lmtp || relay_peer_is_listed(s->policy, &s->peer))
		return true;
	return bytes_find(name, '.', 0) > 0 ? !bytes_ieq(name, bytes_str(s->policy->hostname))
					    : name.p[0] == '[';
}

/* lmtp: LHLO, and only with LMTP (RFC 2033 4.1). */
static void hello(struct smtp_session *s, const struct command *cmd, bool esmtp, bool lmtp)
{
	if (lmtp != s->service->lmtp) {
		session_refuse(s, REPLY_BAD_LINE);
		return;
	}
	if (!helo_valid(cmd->argument)) {
		session_refuse(s, REPLY_BAD_HELO);
		return;
	}
	if (s->policy->strict_helo && !helo_is_honest(s, cmd->argument)) {
		session_refuse(s, REPLY_HELO_REFUSED);
		return;
	}
	session_reset(s);
	s->esmtp = esmtp;
	s->sync = true;
	memcpy(s->helo, cmd->argument.p, cmd->argument.n);
	s->helo_n = (uint8_t)cmd->argument.n;
	session_decide(
		s, STAGE_HELO, s->ops->helo ? s->ops->helo(s->ctx, cmd->argument) : REPLY_OK);
}

static void command_helo(struct smtp_session *s, const struct command *cmd)
{
	hello(s, cmd, false, false);
}

static void command_ehlo(struct smtp_session *s, const struct command *cmd)
{
	if (s->service->withheld & EHLO_NO_ESMTP)
		session_refuse(s, REPLY_NOT_OFFERED);
	else
		hello(s, cmd, true, false);
}

static void command_lhlo(struct smtp_session *s, const struct command *cmd)
{
	hello(s, cmd, true, true);
}

/* "FROM:" or "TO:", and the spaces that many clients put behind it. */
static inline bool skip_keyword(struct bytes *argument, struct bytes keyword)
{
	if (argument->n < keyword.n || (memcmp(argument->p, keyword.p, keyword.n) != 0 &&
					       !bytes_istarts(*argument, keyword)))
		return false;
	*argument = bytes_skip(*argument, keyword.n);
	while (argument->n && argument->p[0] == ' ')
		*argument = bytes_skip(*argument, 1);
	return true;
}

static enum reply_id parse_params(struct bytes in, unsigned of, struct params *p)
{
	switch (params_parse(in, of, p)) {
	case PARAM_SYNTAX:
		return REPLY_BAD_PARAM;
	case PARAM_UNKNOWN:
		return REPLY_UNKNOWN_PARAM;
	case PARAM_OK:
		break;
	}
	return REPLY_OK;
}

/* Parameters that are for some listeners and some connections only. */
static bool params_offered(const struct smtp_session *s, const struct params *p)
{
	return (s->tls || !params_have(p, PARAM_REQUIRETLS)) &&
	       (!params_have(p, PARAM_MT_PRIORITY) || session_may_prioritise(s)) &&
	       (s->service->auth || !params_have(p, PARAM_AUTH));
}

static enum reply_id path_refusal(int err, enum reply_id otherwise)
{
	return err == -EILSEQ ? REPLY_NOT_UTF8_MAIL : otherwise;
}

/* The path is read with UTF-8 allowed: whether it is, the parameters behind it tell. */
static enum reply_id parse_mail(
	struct smtp_session *s, const struct command *cmd, struct buf *out, struct smtp_mail *mail)
{
	struct bytes argument = cmd->argument;
	struct address a;
	struct params p;
	size_t used;

	if (!skip_keyword(&argument, BYTES_LIT("FROM:")))
		return REPLY_BAD_ARGUMENT;
	if (address_parse_path(argument, ADDRESS_REVERSE | ADDRESS_UTF8, out, &a, &used) < 0)
		return REPLY_BAD_SENDER;
	enum reply_id v = parse_params(bytes_skip(argument, used), PARAMS_OF_MAIL, &p);
	if (v != REPLY_OK)
		return v;
	if (!params_offered(s, &p))
		return REPLY_UNKNOWN_PARAM;
	if (cmd->utf8 && utf8_needed(bytes_first(argument, used)) &&
		!params_have(&p, PARAM_SMTPUTF8))
		return REPLY_NOT_UTF8_MAIL;
	if (p.size > s->policy->message_bytes_max)
		return REPLY_SIZE_EXCEEDED;
	*mail = (struct smtp_mail){.sender = a.text,
		.size = p.size,
		.body = p.body,
		.ret = p.ret,
		.envid = p.envid,
		.smtputf8 = params_have(&p, PARAM_SMTPUTF8),
		.requiretls = params_have(&p, PARAM_REQUIRETLS),
		.priority = p.priority};
	return REPLY_OK;
}

static void command_mail(struct smtp_session *s, const struct command *cmd)
{
	uint8_t memory[ADDRESS_MAX];
	struct smtp_mail mail;
	struct buf out;

	buf_init(&out, memory, sizeof(memory));
	enum reply_id v = session_auth_needed(s);
	if (v == REPLY_OK && s->policy->session_messages_max &&
		s->mails >= s->policy->session_messages_max)
		v = REPLY_TOO_MANY_MESSAGES;
	if (v == REPLY_OK)
		v = parse_mail(s, cmd, &out, &mail);
	if (v == REPLY_OK && s->service->submission && s->account &&
		!relay_owns_sender(s->policy, s->account, mail.sender))
		v = REPLY_NOT_YOUR_SENDER;
	if (v != REPLY_OK) {
		session_refuse(s, v);
		return;
	}
	s->smtputf8 = mail.smtputf8;
	s->binary = mail.body == BODY_BINARYMIME;
	session_decide(s, STAGE_MAIL, s->ops->mail(s->ctx, &mail));
}

static enum reply_id parse_rcpt(
	struct smtp_session *s, struct bytes argument, struct buf *out, struct smtp_rcpt *rcpt)
{
	struct relay_verdict where;
	struct address a;
	struct params p;
	size_t used;

	if (!skip_keyword(&argument, BYTES_LIT("TO:")))
		return REPLY_BAD_ARGUMENT;
	int err = address_parse_path(
		argument, ADDRESS_FORWARD | (s->smtputf8 ? ADDRESS_UTF8 : 0), out, &a, &used);
	if (err < 0)
		return path_refusal(err, REPLY_BAD_RCPT);
	enum reply_id v = parse_params(
		bytes_skip(argument, used), PARAMS_OF_RCPT | (s->smtputf8 ? PARAMS_UTF8 : 0), &p);
	if (v != REPLY_OK)
		return v;
	if (a.domain_at == a.text.n) {
		/* <postmaster> is ours (RFC 5321 4.5.1). */
		buf_printf(out, "@%s", s->policy->hostname);
		a.domain_at++;
		a.text = buf_view(out);
		if (out->overflow)
			return REPLY_UNKNOWN_USER;
	}
	v = relay_check(s->policy, &s->peer, s->account != 0 || s->certified, &a, &where);
	*rcpt = (struct smtp_rcpt){
		.address = a.text,
		.route = where.route,
		.account = where.account,
		.dsn = {.notify = p.notify, .orcpt = p.orcpt}
        };
	return v;
}

/* RFC 9422 4.3.  Equal hashes of two domains let one more in, which harms nobody. */
static bool domain_is_new(const struct smtp_session *s)
{
	for (unsigned i = 0; i < s->domain_n; i++) {
		if (s->domains[i] == s->domain)
			return false;
	}
	return true;
}

static enum reply_id check_domain(struct smtp_session *s, struct bytes address)
{
	uint32_t max = s->policy->session_domains_max;

	if (!max)
		return REPLY_OK;
	struct bytes domain = bytes_skip(address, (size_t)(bytes_rfind(address, '@') + 1));
	s->domain = (uint16_t)crc32c(0, domain.p, domain.n);
	return s->domain_n < max || !domain_is_new(s) ? REPLY_OK : REPLY_TOO_MANY_DOMAINS;
}

void session_domain_taken(struct smtp_session *s)
{
	if (domain_is_new(s) && s->domain_n < SMTP_DOMAINS_MAX)
		s->domains[s->domain_n++] = s->domain;
}

/* Past the limit 452, so that the peer sends the rest in another transaction (RFC 5321 4.5.3.1.10);
 * who goes on and on is in error. */
static void too_many_rcpts(struct smtp_session *s)
{
	session_refuse(s, REPLY_TOO_MANY_RCPTS);
	if (++s->overshoot > SMTP_OVERSHOOT)
		session_close(s, REPLY_TOO_MANY_ERRORS);
}

static void command_rcpt(struct smtp_session *s, const struct command *cmd)
{
	uint8_t memory[ADDRESS_MAX];
	struct smtp_rcpt rcpt;
	struct buf out;

	if (s->rcpts >= session_rcpts_max(s)) {
		too_many_rcpts(s);
		return;
	}
	buf_init(&out, memory, sizeof(memory));
	enum reply_id v = parse_rcpt(s, cmd->argument, &out, &rcpt);
	if (v == REPLY_OK)
		v = check_domain(s, rcpt.address);
	session_decide(s, STAGE_RCPT, v == REPLY_OK ? s->ops->rcpt(s->ctx, &rcpt) : v);
}

static void command_data(struct smtp_session *s, const struct command *cmd)
{
	if (cmd->argument.n) {
		session_refuse(s, REPLY_NO_ARGUMENT);
		return;
	}
	s->sync = true;
	if (s->rcpts == 0) {
		session_refuse(s, s->rcpt_refused ? REPLY_NO_VALID_RCPTS : REPLY_RCPT_FIRST);
		return;
	}
	if (s->binary) {
		/* RFC 3030 3: only BDAT can carry it. */
		session_refuse(s, REPLY_BINARY_NEEDS_BDAT);
		return;
	}
	session_decide(s, STAGE_DATA, s->ops->data(s->ctx));
}

static void command_bdat(struct smtp_session *s, const struct command *cmd)
{
	session_chunk_command(s, cmd->argument);
}

static void command_rset(struct smtp_session *s, const struct command *cmd)
{
	if (cmd->argument.n) {
		session_refuse(s, REPLY_NO_ARGUMENT);
		return;
	}
	session_reset(s);
	session_queue(s, REPLY_OK);
	if (s->draining)
		session_close(s, REPLY_SHUTDOWN);
}

static void command_noop(struct smtp_session *s, const struct command *cmd)
{
	(void)cmd;
	session_queue(s, REPLY_OK);
}

static void command_vrfy(struct smtp_session *s, const struct command *cmd)
{
	if (cmd->argument.n)
		session_queue(s, REPLY_VRFY);
	else
		session_refuse(s, REPLY_BAD_ARGUMENT);
}

static void command_help(struct smtp_session *s, const struct command *cmd)
{
	(void)cmd;
	session_queue(s, REPLY_HELP);
}

static void command_quit(struct smtp_session *s, const struct command *cmd)
{
	if (cmd->argument.n)
		session_refuse(s, REPLY_NO_ARGUMENT);
	else
		session_close(s, REPLY_BYE);
}

static void command_starttls(struct smtp_session *s, const struct command *cmd)
{
	session_starttls(s, cmd->argument);
}

static void command_auth(struct smtp_session *s, const struct command *cmd)
{
	session_auth(s, cmd->argument);
}

static void command_xclient(struct smtp_session *s, const struct command *cmd)
{
	session_xclient(s, cmd->argument);
}

static void command_unsupported(struct smtp_session *s, const struct command *cmd)
{
	(void)cmd;
	session_refuse(s, REPLY_NOT_OFFERED);
}

struct verb_rule {
	unsigned states; /* bit per enum smtp_state */
	bool junk;
	void (*run)(struct smtp_session *s, const struct command *cmd);
};

static const struct verb_rule rules[COMMAND_N] = {
#define COMMAND(id, limit, states, junk, handler) [COMMAND_##id] = {states, junk, handler},
#include "smtp/command.def"
#undef COMMAND
};

static enum reply_id wrong_state(const struct smtp_session *s, enum command_verb verb)
{
	if (s->state == SMTP_START)
		return REPLY_HELO_FIRST;
	if (verb == COMMAND_MAIL)
		return REPLY_NESTED_MAIL;
	return s->state == SMTP_READY ? REPLY_MAIL_FIRST : REPLY_SEQUENCE;
}

/* RFC 6531 3.1 */
static bool takes_utf8(enum command_verb verb)
{
	return verb == COMMAND_MAIL || verb == COMMAND_RCPT || verb == COMMAND_VRFY;
}

void session_command(struct smtp_session *s, const struct command *cmd)
{
	const struct verb_rule *rule = &rules[cmd->verb];

	if (cmd->verb == COMMAND_UNKNOWN || (cmd->utf8 && !takes_utf8(cmd->verb))) {
		session_refuse(s, REPLY_BAD_LINE);
		return;
	}
	if (rule->junk && ++s->junk > SMTP_JUNK_MAX) {
		session_close(s, REPLY_TOO_MANY_ERRORS);
		return;
	}
	if (!(rule->states & 1u << s->state)) {
		session_refuse(s, wrong_state(s, cmd->verb));
		return;
	}
	rule->run(s, cmd);
}
