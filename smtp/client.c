/* SPDX-License-Identifier: BSD-3-Clause
 * The client's life: replies to verdicts.  What is sent is in client_output.c. */
#include "smtp/client_priv.h"
#include "dataplane/base/codec.h"

void smtp_client_init(
	struct smtp_client *c, const struct smtp_client_ops *ops, void *ctx, const char *hostname)
{
	*c = (struct smtp_client){
		.ops = ops, .ctx = ctx, .hostname = hostname, .state = SMTP_CLIENT_GREETING};
	reply_parser_init(&c->parser);
}

void smtp_client_demand(struct smtp_client *c, const struct smtp_client_demand *demand)
{
	BUG_ON(c->state != SMTP_CLIENT_GREETING);
	c->demand = *demand;
}

enum smtp_client_state smtp_client_state(const struct smtp_client *c)
{
	return (enum smtp_client_state)c->state;
}

enum smtp_client_command smtp_client_command(const struct smtp_client *c)
{
	static const uint8_t of_state[] = {
		[SMTP_CLIENT_GREETING] = SMTP_COMMAND_GREETING,
		[SMTP_CLIENT_EHLO] = SMTP_COMMAND_HELO,
		[SMTP_CLIENT_HELO] = SMTP_COMMAND_HELO,
		[SMTP_CLIENT_STARTTLS] = SMTP_COMMAND_STARTTLS,
		[SMTP_CLIENT_HANDSHAKE] = SMTP_COMMAND_STARTTLS,
		[SMTP_CLIENT_AUTH] = SMTP_COMMAND_AUTH,
		[SMTP_CLIENT_READY] = SMTP_COMMAND_OTHER,
		[SMTP_CLIENT_ENVELOPE] = SMTP_COMMAND_RCPT,
		[SMTP_CLIENT_DATA] = SMTP_COMMAND_DATA,
		[SMTP_CLIENT_CONTENT] = SMTP_COMMAND_END,
		[SMTP_CLIENT_FINAL] = SMTP_COMMAND_END,
		[SMTP_CLIENT_RSET] = SMTP_COMMAND_OTHER,
		[SMTP_CLIENT_QUIT] = SMTP_COMMAND_OTHER,
		[SMTP_CLIENT_ENDED] = SMTP_COMMAND_OTHER,
	};
	enum smtp_client_state state = (enum smtp_client_state)c->state;

	if (state == SMTP_CLIENT_ENDED)
		state = (enum smtp_client_state)c->ended_in;
	if (state != SMTP_CLIENT_ENVELOPE)
		return (enum smtp_client_command)of_state[state];
	if (c->refused || c->replied == 0)
		return SMTP_COMMAND_MAIL;
	return c->replied > client_data_command(c) ? SMTP_COMMAND_DATA : SMTP_COMMAND_RCPT;
}

/* A state whose command is to be sent, or which waits. */
void client_set_state(struct smtp_client *c, enum smtp_client_state state, bool due)
{
	c->state = (uint8_t)state;
	c->due = due;
}

static bool bit_get(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static void bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ull << i % 64;
}

/* ---- verdicts ---- */

static bool message_under_way(const struct smtp_client *c)
{
	return c->state >= SMTP_CLIENT_ENVELOPE && c->state <= SMTP_CLIENT_FINAL;
}

static void rcpt_verdict(struct smtp_client *c, uint32_t i, enum smtp_rcpt_result result,
	const struct smtp_reply_info *reply)
{
	if (bit_get(c->done_bits, i))
		return;
	bit_set(c->done_bits, i);
	c->done++;
	c->ops->on_rcpt(c->ctx, i, result, reply);
}

/* The same verdict for all that have none. */
void client_verdict_for_all(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	for (uint32_t i = 0; i < c->m.rcpt_count && c->done < c->m.rcpt_count; i++)
		rcpt_verdict(c, i, result, reply);
}

void client_skip(struct smtp_client *c, uint32_t i, const struct smtp_reply_info *reply)
{
	bit_set(c->skipped_bits, i);
	rcpt_verdict(c, i, SMTP_RCPT_FAIL, reply);
}

bool client_is_skipped(const struct smtp_client *c, uint32_t i)
{
	return bit_get(c->skipped_bits, i);
}

void client_skip_ahead(struct smtp_client *c)
{
	while (c->replied > 0 && c->replied < c->sent && c->replied <= c->m.rcpt_count &&
		client_is_skipped(c, c->replied - 1))
		c->replied++;
}

static enum smtp_rcpt_result result_of(unsigned code)
{
	return code >= 500 ? SMTP_RCPT_FAIL : SMTP_RCPT_DEFER;
}

/* The end of the session: what has no verdict gets this one. */
void client_end_session(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	bool message = message_under_way(c);

	if (c->state == SMTP_CLIENT_ENDED)
		return;
	if (message)
		client_verdict_for_all(c, result, reply);
	c->ended_in = c->state;
	client_set_state(c, SMTP_CLIENT_ENDED, false);
	if (message)
		c->ops->on_message_end(c->ctx);
	c->ops->on_end(c->ctx, reply);
}

void client_fail(struct smtp_client *c, const char *why)
{
	reply_info_make(&c->local, 0, NULL, why);
	client_end_session(c, SMTP_RCPT_DEFER, &c->local);
}

/* A verdict of our own on the session; code and enhanced as a reply's. */
void client_refuse_session(
	struct smtp_client *c, uint16_t code, const char *enhanced, const char *why)
{
	reply_info_make(&c->local, code, enhanced, why);
	client_end_session(c, SMTP_RCPT_DEFER, &c->local);
}

void client_become_ready(struct smtp_client *c)
{
	if (c->quit) {
		client_set_state(c, SMTP_CLIENT_QUIT, true);
		return;
	}
	client_set_state(c, SMTP_CLIENT_READY, false);
	c->ops->on_ready(c->ctx);
}

/* Every recipient has its verdict and every reply of the envelope is in. */
void client_message_end(struct smtp_client *c, bool reset)
{
	client_set_state(c, reset ? SMTP_CLIENT_RSET : SMTP_CLIENT_READY, reset);
	c->ops->on_message_end(c->ctx);
	if (!reset)
		client_become_ready(c);
}

/* ---- calls ---- */

void smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m)
{
	BUG_ON(c->state != SMTP_CLIENT_READY);
	BUG_ON(m->rcpt_count == 0 || m->rcpt_count > SMTP_CLIENT_RCPT_MAX);
	c->m = *m;
	c->sent = c->replied = c->accepted = c->done = c->answered = 0;
	c->mail_ok = c->refused = c->waiting = false;
	c->prepared = c->chunked = c->converted = c->utf8 = false;
	c->chunk_left = m->size;
	memset(c->accepted_bits, 0, sizeof(c->accepted_bits));
	memset(c->done_bits, 0, sizeof(c->done_bits));
	memset(c->skipped_bits, 0, sizeof(c->skipped_bits));
	c->encoder = (struct data_encoder){0};
	client_set_state(c, SMTP_CLIENT_ENVELOPE, false);
}

void smtp_client_quit(struct smtp_client *c)
{
	c->quit = true;
	if (c->state == SMTP_CLIENT_READY)
		client_set_state(c, SMTP_CLIENT_QUIT, true);
}

void smtp_client_secured(struct smtp_client *c)
{
	BUG_ON(c->state != SMTP_CLIENT_HANDSHAKE);
	/* RFC 3207 4.2: what the peer said in clear counts for nothing. */
	c->demand.secured = true;
	reply_parser_init(&c->parser);
	c->ext = 0;
	c->mechanisms = 0;
	c->size_max = 0;
	c->rcpt_max = c->mail_max = c->domain_max = 0;
	client_set_state(c, SMTP_CLIENT_EHLO, true);
}

void smtp_client_content_ready(struct smtp_client *c)
{
	c->waiting = false;
}

void smtp_client_content_failed(struct smtp_client *c)
{
	client_fail(c, "the message could not be read");
}

void smtp_client_disconnected(struct smtp_client *c, const char *why)
{
	client_fail(c, why);
}

void smtp_client_content_refused(struct smtp_client *c, const char *enhanced, const char *why)
{
	reply_info_make(&c->local, 554, enhanced, why);
	client_end_session(c, SMTP_RCPT_FAIL, &c->local);
}

void smtp_client_give_up(struct smtp_client *c, const char *enhanced, const char *why)
{
	client_refuse_session(c, 454, enhanced, why);
}

/* RFC 5321 4.5.3.2 */
uint64_t smtp_client_timeout_us(const struct smtp_client *c)
{
	static const uint16_t seconds[] = {
		[SMTP_CLIENT_GREETING] = 300,
		[SMTP_CLIENT_EHLO] = 300,
		[SMTP_CLIENT_HELO] = 300,
		[SMTP_CLIENT_STARTTLS] = 300,
		[SMTP_CLIENT_HANDSHAKE] = 60, /* chosen: a few round trips and a signature */
		[SMTP_CLIENT_AUTH] = 300,
		[SMTP_CLIENT_READY] = 300,
		[SMTP_CLIENT_ENVELOPE] = 300,
		[SMTP_CLIENT_DATA] = 120,
		[SMTP_CLIENT_CONTENT] = 180,
		[SMTP_CLIENT_FINAL] = 600,
		[SMTP_CLIENT_RSET] = 300,
		[SMTP_CLIENT_QUIT] = 10, /* chosen: nothing depends on the answer */
		[SMTP_CLIENT_ENDED] = 1,
	};

	return seconds[c->state] * 1000000ull;
}

/* ---- replies ---- */

uint32_t client_data_command(const struct smtp_client *c)
{
	return c->m.rcpt_count + 1;
}

/* MAIL or RCPT: 3xx has no meaning there. */
static void on_envelope_reply(
	struct smtp_client *c, uint32_t command, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 3) {
		client_fail(c, "the peer's reply makes no sense here");
	} else if (command == 0) {
		c->mail_ok = r->code < 300;
		c->refused = !c->mail_ok;
		if (c->refused)
			client_verdict_for_all(c, result_of(r->code), r);
	} else if (!c->refused && r->code < 300) {
		bit_set(c->accepted_bits, command - 1);
		c->accepted++;
	} else if (!c->refused) {
		/* RFC 5321 4.5.3.1.10: 552 to RCPT means 452. */
		rcpt_verdict(
			c, command - 1, r->code == 552 ? SMTP_RCPT_DEFER : result_of(r->code), r);
	}
}

static void on_data_reply(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code == 354 && c->demand.lmtp && c->accepted == 0) {
		client_fail(c, "the peer wants content for nobody");
		return;
	}
	if (r->code == 354) {
		/* Also when nobody was accepted: then only the end of data may follow. */
		client_set_state(c, SMTP_CLIENT_CONTENT, false);
		return;
	}
	if (r->code < 400) {
		client_fail(c, "the peer answered DATA with a success that is none");
		return;
	}
	client_verdict_for_all(c, result_of(r->code), r);
	client_message_end(c, c->mail_ok);
}

static void on_envelope(struct smtp_client *c, const struct smtp_reply_info *r)
{
	uint32_t command = c->replied++;

	client_skip_ahead(c);
	if (command == client_data_command(c)) {
		on_data_reply(c, r);
		return;
	}
	on_envelope_reply(c, command, r);
	/* Nobody to send to, and DATA not said: no need to. */
	bool answered = c->refused || c->replied == client_data_command(c);
	if (c->state == SMTP_CLIENT_ENVELOPE && answered && c->accepted == 0 &&
		c->replied == c->sent && c->sent < client_data_command(c) + 1)
		client_message_end(c, c->mail_ok);
	else if (c->state == SMTP_CLIENT_ENVELOPE && c->replied == client_data_command(c) &&
		 c->sent > client_data_command(c))
		client_set_state(c, SMTP_CLIENT_DATA, false);
}

/* A reply while the content is being sent: it can only be a refusal. */
static void on_content(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code < 400) {
		client_fail(c, "the peer answered before the end of data");
		return;
	}
	client_end_session(c, result_of(r->code), r);
}

/* RFC 2033 4.2: a reply for each accepted recipient, in their order. */
static void on_final_lmtp(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *r)
{
	while (!bit_get(c->accepted_bits, c->answered))
		c->answered++;
	rcpt_verdict(c, c->answered++, result, r);
	if (c->done == c->m.rcpt_count)
		client_message_end(c, false);
}

static void on_final(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 3) {
		client_fail(c, "the peer's reply makes no sense here");
		return;
	}
	enum smtp_rcpt_result result = r->code < 300 ? SMTP_RCPT_DELIVERED : result_of(r->code);
	if (c->demand.lmtp) {
		on_final_lmtp(c, result, r);
		return;
	}
	for (uint32_t i = 0; i < c->m.rcpt_count; i++) {
		if (bit_get(c->accepted_bits, i))
			rcpt_verdict(c, i, result, r);
	}
	client_message_end(c, false);
}

static void on_rset(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 2)
		client_become_ready(c);
	else
		client_end_session(c, SMTP_RCPT_DEFER, r);
}

static void on_quit(struct smtp_client *c, const struct smtp_reply_info *r)
{
	client_end_session(c, SMTP_RCPT_DEFER, r);
}

static void (*const handlers[])(struct smtp_client *c, const struct smtp_reply_info *r) = {
	[SMTP_CLIENT_GREETING] = client_on_greeting,
	[SMTP_CLIENT_EHLO] = client_on_ehlo,
	[SMTP_CLIENT_HELO] = client_on_helo,
	[SMTP_CLIENT_STARTTLS] = client_on_starttls,
	[SMTP_CLIENT_HANDSHAKE] = NULL,
	[SMTP_CLIENT_AUTH] = client_on_auth,
	[SMTP_CLIENT_READY] = NULL,
	[SMTP_CLIENT_ENVELOPE] = on_envelope,
	[SMTP_CLIENT_DATA] = on_envelope,
	[SMTP_CLIENT_CONTENT] = on_content,
	[SMTP_CLIENT_FINAL] = on_final,
	[SMTP_CLIENT_RSET] = on_rset,
	[SMTP_CLIENT_QUIT] = on_quit,
	[SMTP_CLIENT_ENDED] = NULL,
};

/* Has a command been sent that this reply may belong to? */
static bool reply_expected(const struct smtp_client *c)
{
	if (c->state == SMTP_CLIENT_ENVELOPE || c->state == SMTP_CLIENT_DATA)
		return c->replied < c->sent;
	return !c->due && !c->working && handlers[c->state];
}

static void on_reply(struct smtp_client *c)
{
	/* A copy: the parser's is gone when an upcall feeds it again. */
	struct smtp_reply_info r = c->parser.info;

	if (r.code == 421)
		client_end_session(c, SMTP_RCPT_DEFER, &r);
	else if (!reply_expected(c))
		client_fail(c, "the peer spoke without being asked");
	else
		handlers[c->state](c, &r);
}

void smtp_client_input(struct smtp_client *c, struct bytes data)
{
	while (data.n && c->state != SMTP_CLIENT_ENDED) {
		size_t used;
		/* What comes in clear behind the reply to STARTTLS would be taken for the server's
		 * word under TLS. */
		if (c->state == SMTP_CLIENT_HANDSHAKE) {
			client_fail(c, "the peer sent plaintext behind its reply to STARTTLS");
			return;
		}
		enum reply_verdict v = reply_parse(&c->parser, data, &used);
		data = bytes_skip(data, used);
		/* Extensions are on the lines behind the first. */
		if ((v == REPLY_LINE || v == REPLY_DONE) && c->state == SMTP_CLIENT_EHLO &&
			c->parser.lines > 1 && c->parser.info.code == 250)
			client_learn_extension(c, reply_parser_text(&c->parser));
		if (v == REPLY_DONE)
			on_reply(c);
		else if (v == REPLY_BAD)
			client_fail(c, "the peer sent what is no SMTP reply");
	}
}
