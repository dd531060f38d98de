/* SPDX-License-Identifier: BSD-3-Clause
 * What the client sends, by state: the envelope, pipelined when offered; the content with DATA, or
 * with BDAT (RFC 3030) when it is large. */
#include "smtp/client_priv.h"
#include "dataplane/base/codec.h"

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
	client_verdict_for_all(c, SMTP_RCPT_FAIL, &c->local);
	client_message_end(c, false);
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
	if (c->sent == client_data_command(c) && c->chunked) {
		buf_printf(out, "BDAT %llu LAST", (unsigned long long)c->m.size);
	} else if (c->sent == client_data_command(c)) {
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
	if (c->sent > client_data_command(c))
		return false;
	if (c->refused || (c->replied == client_data_command(c) && c->accepted == 0))
		return false;
	/* Nobody waits for leave to send a chunk: it goes only when there is somebody to take it.
	 */
	bool group = (c->ext & SMTP_EXT_PIPELINING) &&
		     !(c->chunked && c->sent == client_data_command(c));
	return c->replied == c->sent || group;
}

static bool output_envelope(struct smtp_client *c, struct buf *out)
{
	if (c->sent == 0 && refuse_locally(c))
		return true;
	if (!command_due(c) || buf_space(out) < SMTP_CLIENT_OUTPUT_MIN)
		return false;
	put_command(c, out);
	c->sent++;
	if (c->chunked && c->sent > client_data_command(c))
		client_set_state(c, SMTP_CLIENT_CONTENT, false);
	else if (c->sent > client_data_command(c) && c->replied == client_data_command(c))
		client_set_state(c, SMTP_CLIENT_DATA, false);
	return true;
}

static bool output_end_of_data(struct smtp_client *c, struct buf *out)
{
	int err = data_encode_end(&c->encoder, out);

	if (err == 0)
		client_set_state(c, SMTP_CLIENT_FINAL, false);
	return err == 0;
}

/* Content that must not leave this host; the transaction cannot be undone but by leaving. */
static bool content_is_bad(struct smtp_client *c)
{
	reply_info_make(&c->local, 550, "5.6.11", "bare CR or LF in the message");
	client_end_session(c, SMTP_RCPT_FAIL, &c->local);
	return false;
}

/* Octets stand for themselves; exactly as many as were announced. */
static bool output_chunk(struct smtp_client *c, struct buf *out)
{
	bool end = false;
	size_t want = (size_t)MIN((uint64_t)buf_space(out), c->chunk_left);

	if (c->waiting || buf_space(out) == 0)
		return false;
	struct bytes content = c->ops->content(c->ctx, want, &end);
	if (c->state != SMTP_CLIENT_CONTENT)
		return false;
	BUG_ON(content.n > want);
	/* Not the announced size: the last octets must not go out, they would end the message. */
	if (end != (content.n == c->chunk_left)) {
		smtp_client_content_failed(c);
		return false;
	}
	buf_put(out, content);
	c->chunk_left -= content.n;
	if (end) {
		client_set_state(c, SMTP_CLIENT_FINAL, false);
		return true;
	}
	c->waiting = content.n == 0;
	return !c->waiting;
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

/* ---- AUTH (RFC 4954) ---- */

static void auth_next(struct smtp_client *c, enum sasl_client_next next)
{
	c->working = next == SASL_CLIENT_WORK;
	c->due = next == SASL_CLIENT_SEND;
	if (next != SASL_CLIENT_BAD)
		return;
	sasl_client_end(c->demand.sasl);
	client_refuse_session(c, 454, "4.7.8", "the peer's part in AUTH makes no sense");
}

void client_auth_step(struct smtp_client *c, struct bytes challenge)
{
	struct buf answer;

	buf_init(&answer, c->answer, sizeof(c->answer));
	auth_next(c, sasl_client_challenge(c->demand.sasl, challenge, &answer));
	c->answer_n = (uint16_t)answer.n;
}

static void auth_work(struct smtp_client *c)
{
	struct buf answer;

	buf_init(&answer, c->answer, sizeof(c->answer));
	auth_next(c, sasl_client_work(c->demand.sasl, &answer));
	c->answer_n = (uint16_t)answer.n;
}

static void put_auth(struct smtp_client *c, struct buf *out)
{
	struct sasl_client *s = c->demand.sasl;
	struct buf initial;

	buf_printf(out, "AUTH %s", sasl_client_name(s));
	buf_init(&initial, c->answer, sizeof(c->answer));
	if (sasl_client_initial(s, &initial)) {
		buf_str(out, " ");
		base64_encode(out, buf_view(&initial));
	}
	c->auth_begun = true;
}

/* One line: the command, or the answer to a challenge. */
static bool output_auth(struct smtp_client *c, struct buf *out)
{
	if (c->working) {
		auth_work(c);
		if (c->working)
			return false; /* not more than a slice at a time */
	}
	if (!c->due || buf_space(out) < SMTP_CLIENT_OUTPUT_MIN)
		return false;
	if (c->auth_begun)
		base64_encode(out, bytes_make(c->answer, c->answer_n));
	else
		put_auth(c, out);
	buf_str(out, "\r\n");
	explicit_bzero(c->answer, sizeof(c->answer));
	c->due = false;
	return true;
}

static bool output_due(struct smtp_client *c, struct buf *out)
{
	static const char *const words[] = {
		[SMTP_CLIENT_EHLO] = "EHLO ",
		[SMTP_CLIENT_HELO] = "HELO ",
		[SMTP_CLIENT_STARTTLS] = "STARTTLS",
		[SMTP_CLIENT_RSET] = "RSET",
		[SMTP_CLIENT_QUIT] = "QUIT",
	};

	if (!c->due || buf_space(out) < SMTP_CLIENT_OUTPUT_MIN)
		return false;
	const char *word = words[c->state];
	if (c->state == SMTP_CLIENT_EHLO && c->demand.lmtp)
		word = "LHLO ";
	buf_printf(out, "%s%s\r\n", word, c->state <= SMTP_CLIENT_HELO ? c->hostname : "");
	c->due = false;
	return true;
}

/* One step; false: nothing to do now. */
static bool output_step(struct smtp_client *c, struct buf *out)
{
	switch ((enum smtp_client_state)c->state) {
	case SMTP_CLIENT_EHLO:
	case SMTP_CLIENT_HELO:
	case SMTP_CLIENT_STARTTLS:
	case SMTP_CLIENT_RSET:
	case SMTP_CLIENT_QUIT:
		return output_due(c, out);
	case SMTP_CLIENT_AUTH:
		return output_auth(c, out);
	case SMTP_CLIENT_ENVELOPE:
		return output_envelope(c, out);
	case SMTP_CLIENT_CONTENT:
		return c->chunked ? output_chunk(c, out) : output_content(c, out);
	case SMTP_CLIENT_GREETING:
	case SMTP_CLIENT_HANDSHAKE:
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
