/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/client.h"

void smtp_client_init(
	struct smtp_client *c, const struct smtp_client_ops *ops, void *ctx, const char *hostname)
{
	*c = (struct smtp_client){
		.ops = ops, .ctx = ctx, .hostname = hostname, .state = SMTP_CLIENT_GREETING};
	reply_parser_init(&c->parser);
}

enum smtp_client_state smtp_client_state(const struct smtp_client *c)
{
	return (enum smtp_client_state)c->state;
}

/* A state whose command is to be sent, or which waits. */
static void set_state(struct smtp_client *c, enum smtp_client_state state, bool due)
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
static void verdict_for_all(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	for (uint32_t i = 0; i < c->m.rcpt_count && c->done < c->m.rcpt_count; i++)
		rcpt_verdict(c, i, result, reply);
}

static enum smtp_rcpt_result result_of(unsigned code)
{
	return code >= 500 ? SMTP_RCPT_FAIL : SMTP_RCPT_DEFER;
}

/* The end of the session: what has no verdict gets this one. */
static void end_session(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	bool message = message_under_way(c);

	if (c->state == SMTP_CLIENT_ENDED)
		return;
	if (message)
		verdict_for_all(c, result, reply);
	set_state(c, SMTP_CLIENT_ENDED, false);
	if (message)
		c->ops->on_message_end(c->ctx);
	c->ops->on_end(c->ctx, reply);
}

static void fail(struct smtp_client *c, const char *why)
{
	reply_info_make(&c->local, 0, NULL, why);
	end_session(c, SMTP_RCPT_DEFER, &c->local);
}

static void become_ready(struct smtp_client *c)
{
	if (c->quit) {
		set_state(c, SMTP_CLIENT_QUIT, true);
		return;
	}
	set_state(c, SMTP_CLIENT_READY, false);
	c->ops->on_ready(c->ctx);
}

/* Every recipient has its verdict and every reply of the envelope is in. */
static void message_end(struct smtp_client *c, bool reset)
{
	set_state(c, reset ? SMTP_CLIENT_RSET : SMTP_CLIENT_READY, reset);
	c->ops->on_message_end(c->ctx);
	if (!reset)
		become_ready(c);
}

/* ---- calls ---- */

void smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m)
{
	BUG_ON(c->state != SMTP_CLIENT_READY);
	BUG_ON(m->rcpt_count == 0 || m->rcpt_count > SMTP_CLIENT_RCPT_MAX);
	c->m = *m;
	c->sent = c->replied = c->accepted = c->done = 0;
	c->mail_ok = c->refused = c->waiting = false;
	memset(c->accepted_bits, 0, sizeof(c->accepted_bits));
	memset(c->done_bits, 0, sizeof(c->done_bits));
	c->encoder = (struct data_encoder){0};
	set_state(c, SMTP_CLIENT_ENVELOPE, false);
}

void smtp_client_quit(struct smtp_client *c)
{
	c->quit = true;
	if (c->state == SMTP_CLIENT_READY)
		set_state(c, SMTP_CLIENT_QUIT, true);
}

void smtp_client_content_ready(struct smtp_client *c)
{
	c->waiting = false;
}

void smtp_client_content_failed(struct smtp_client *c)
{
	fail(c, "the message could not be read");
}

void smtp_client_disconnected(struct smtp_client *c, const char *why)
{
	fail(c, why);
}

/* RFC 5321 4.5.3.2 */
uint64_t smtp_client_timeout_us(const struct smtp_client *c)
{
	static const uint16_t seconds[] = {
		[SMTP_CLIENT_GREETING] = 300,
		[SMTP_CLIENT_EHLO] = 300,
		[SMTP_CLIENT_HELO] = 300,
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

static void learn_extension(struct smtp_client *c, struct bytes line)
{
	ptrdiff_t space = bytes_find(line, ' ', 0);
	struct bytes word = space < 0 ? line : bytes_first(line, (size_t)space);

	if (bytes_ieq(word, BYTES_LIT("PIPELINING"))) {
		c->ext |= SMTP_EXT_PIPELINING;
	} else if (bytes_ieq(word, BYTES_LIT("8BITMIME"))) {
		c->ext |= SMTP_EXT_8BITMIME;
	} else if (bytes_ieq(word, BYTES_LIT("SIZE"))) {
		c->ext |= SMTP_EXT_SIZE;
		if (space < 0 ||
			bytes_to_u64(bytes_skip(line, (size_t)space + 1), &c->size_max) < 0)
			c->size_max = 0;
	}
}

static void on_greeting(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code == 220)
		set_state(c, SMTP_CLIENT_EHLO, true);
	else
		end_session(c, SMTP_RCPT_DEFER, r);
}

static void on_ehlo(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 2) {
		become_ready(c);
	} else if (r->code >= 500) {
		c->ext = 0;
		set_state(c, SMTP_CLIENT_HELO, true);
	} else {
		end_session(c, SMTP_RCPT_DEFER, r);
	}
}

static void on_helo(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 2)
		become_ready(c);
	else
		end_session(c, SMTP_RCPT_DEFER, r);
}

static uint32_t data_command(const struct smtp_client *c)
{
	return c->m.rcpt_count + 1;
}

/* MAIL or RCPT: 3xx has no meaning there. */
static void on_envelope_reply(
	struct smtp_client *c, uint32_t command, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 3) {
		fail(c, "the peer's reply makes no sense here");
	} else if (command == 0) {
		c->mail_ok = r->code < 300;
		c->refused = !c->mail_ok;
		if (c->refused)
			verdict_for_all(c, result_of(r->code), r);
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
	if (r->code == 354) {
		/* Also when nobody was accepted: then only the end of data may follow. */
		set_state(c, SMTP_CLIENT_CONTENT, false);
		return;
	}
	if (r->code < 400) {
		fail(c, "the peer answered DATA with a success that is none");
		return;
	}
	verdict_for_all(c, result_of(r->code), r);
	message_end(c, c->mail_ok);
}

static void on_envelope(struct smtp_client *c, const struct smtp_reply_info *r)
{
	uint32_t command = c->replied++;

	if (command == data_command(c)) {
		on_data_reply(c, r);
		return;
	}
	on_envelope_reply(c, command, r);
	/* Nobody to send to, and DATA not said: no need to. */
	bool answered = c->refused || c->replied == data_command(c);
	if (c->state == SMTP_CLIENT_ENVELOPE && answered && c->accepted == 0 &&
		c->replied == c->sent && c->sent < data_command(c) + 1)
		message_end(c, c->mail_ok);
	else if (c->state == SMTP_CLIENT_ENVELOPE && c->replied == data_command(c) &&
		 c->sent > data_command(c))
		set_state(c, SMTP_CLIENT_DATA, false);
}

/* A reply while the content is being sent: it can only be a refusal. */
static void on_content(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code < 400) {
		fail(c, "the peer answered before the end of data");
		return;
	}
	end_session(c, result_of(r->code), r);
}

static void on_final(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 3) {
		fail(c, "the peer's reply makes no sense here");
		return;
	}
	enum smtp_rcpt_result result = r->code < 300 ? SMTP_RCPT_DELIVERED : result_of(r->code);
	for (uint32_t i = 0; i < c->m.rcpt_count; i++) {
		if (bit_get(c->accepted_bits, i))
			rcpt_verdict(c, i, result, r);
	}
	message_end(c, false);
}

static void on_rset(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 2)
		become_ready(c);
	else
		end_session(c, SMTP_RCPT_DEFER, r);
}

static void on_quit(struct smtp_client *c, const struct smtp_reply_info *r)
{
	end_session(c, SMTP_RCPT_DEFER, r);
}

static void (*const handlers[])(struct smtp_client *c, const struct smtp_reply_info *r) = {
	[SMTP_CLIENT_GREETING] = on_greeting,
	[SMTP_CLIENT_EHLO] = on_ehlo,
	[SMTP_CLIENT_HELO] = on_helo,
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
	return !c->due && handlers[c->state];
}

static void on_reply(struct smtp_client *c)
{
	/* A copy: the parser's is gone when an upcall feeds it again. */
	struct smtp_reply_info r = c->parser.info;

	if (r.code == 421)
		end_session(c, SMTP_RCPT_DEFER, &r);
	else if (!reply_expected(c))
		fail(c, "the peer spoke without being asked");
	else
		handlers[c->state](c, &r);
}

void smtp_client_input(struct smtp_client *c, struct bytes data)
{
	while (data.n && c->state != SMTP_CLIENT_ENDED) {
		size_t used;
		enum reply_verdict v = reply_parse(&c->parser, data, &used);
		data = bytes_skip(data, used);
		/* Extensions are on the lines behind the first. */
		if ((v == REPLY_LINE || v == REPLY_DONE) && c->state == SMTP_CLIENT_EHLO &&
			c->parser.lines > 1 && c->parser.info.code == 250)
			learn_extension(c, reply_parser_text(&c->parser));
		if (v == REPLY_DONE)
			on_reply(c);
		else if (v == REPLY_BAD)
			fail(c, "the peer sent what is no SMTP reply");
	}
}

/* ---- output ---- */

/* What forbids sending this message to this peer at all. */
static bool refuse_locally(struct smtp_client *c)
{
	if (c->size_max && c->m.size > c->size_max)
		reply_info_make(
			&c->local, 552, "5.3.4", "the message is larger than the next hop accepts");
	else if (c->m.eight_bit && !(c->ext & SMTP_EXT_8BITMIME))
		reply_info_make(&c->local, 554, "5.6.3",
			"the message has 8-bit content and the next hop takes none");
	else
		return false;
	verdict_for_all(c, SMTP_RCPT_FAIL, &c->local);
	message_end(c, false);
	return true;
}

static void put_path(struct buf *out, const char *keyword, struct bytes path)
{
	buf_printf(out, "%s:<", keyword);
	buf_put(out, path);
	buf_str(out, ">");
}

static void put_command(struct smtp_client *c, struct buf *out)
{
	if (c->sent == data_command(c)) {
		buf_str(out, "DATA");
	} else if (c->sent > 0) {
		put_path(out, "RCPT TO", c->ops->rcpt(c->ctx, c->sent - 1));
	} else {
		put_path(out, "MAIL FROM", c->m.sender);
		if (c->ext & SMTP_EXT_SIZE)
			buf_printf(out, " SIZE=%llu", (unsigned long long)c->m.size);
		if (c->m.eight_bit)
			buf_str(out, " BODY=8BITMIME");
	}
	buf_str(out, "\r\n");
}

/* May the next command of the envelope be sent now? */
static bool command_due(const struct smtp_client *c)
{
	if (c->sent > data_command(c))
		return false;
	if (c->refused || (c->replied == data_command(c) && c->accepted == 0))
		return false;
	return c->replied == c->sent || (c->ext & SMTP_EXT_PIPELINING);
}

static bool output_envelope(struct smtp_client *c, struct buf *out)
{
	if (c->sent == 0 && refuse_locally(c))
		return true;
	if (!command_due(c) || buf_space(out) < SMTP_CLIENT_OUTPUT_MIN)
		return false;
	put_command(c, out);
	c->sent++;
	if (c->sent > data_command(c) && c->replied == data_command(c))
		set_state(c, SMTP_CLIENT_DATA, false);
	return true;
}

static bool output_end_of_data(struct smtp_client *c, struct buf *out)
{
	int err = data_encode_end(&c->encoder, out);

	if (err == 0)
		set_state(c, SMTP_CLIENT_FINAL, false);
	return err == 0;
}

/* Content that must not leave this host; the transaction cannot be undone but by leaving. */
static bool content_is_bad(struct smtp_client *c)
{
	reply_info_make(&c->local, 550, "5.6.11", "bare CR or LF in the message");
	end_session(c, SMTP_RCPT_FAIL, &c->local);
	return false;
}

static bool output_content(struct smtp_client *c, struct buf *out)
{
	bool end = false;

	if (c->waiting || buf_space(out) < 64)
		return false;
	if (c->accepted == 0)
		return output_end_of_data(c, out);
	size_t want = (buf_space(out) - DATA_ENCODED_END - 2) / 4 * 3;
	struct bytes content = c->ops->content(c->ctx, want, &end);
	if (c->state != SMTP_CLIENT_CONTENT)
		return false;
	BUG_ON(content.n > want);
	if (content.n && data_encode(&c->encoder, content, out) < 0)
		return content_is_bad(c);
	if (end)
		return output_end_of_data(c, out) || content_is_bad(c);
	c->waiting = content.n == 0;
	return !c->waiting;
}

static bool output_due(struct smtp_client *c, struct buf *out)
{
	static const char *const words[] = {
		[SMTP_CLIENT_EHLO] = "EHLO ",
		[SMTP_CLIENT_HELO] = "HELO ",
		[SMTP_CLIENT_RSET] = "RSET",
		[SMTP_CLIENT_QUIT] = "QUIT",
	};

	if (!c->due || buf_space(out) < SMTP_CLIENT_OUTPUT_MIN)
		return false;
	buf_printf(
		out, "%s%s\r\n", words[c->state], c->state <= SMTP_CLIENT_HELO ? c->hostname : "");
	c->due = false;
	return true;
}

/* One step; false: nothing to do now. */
static bool output_step(struct smtp_client *c, struct buf *out)
{
	switch ((enum smtp_client_state)c->state) {
	case SMTP_CLIENT_EHLO:
	case SMTP_CLIENT_HELO:
	case SMTP_CLIENT_RSET:
	case SMTP_CLIENT_QUIT:
		return output_due(c, out);
	case SMTP_CLIENT_ENVELOPE:
		return output_envelope(c, out);
	case SMTP_CLIENT_CONTENT:
		return output_content(c, out);
	case SMTP_CLIENT_GREETING:
	case SMTP_CLIENT_READY:
	case SMTP_CLIENT_DATA:
	case SMTP_CLIENT_FINAL:
	case SMTP_CLIENT_ENDED:
		break;
	}
	return false;
}

size_t smtp_client_output(struct smtp_client *c, struct buf *out)
{
	size_t before = out->n;

	while (output_step(c, out))
		;
	return out->n - before;
}
