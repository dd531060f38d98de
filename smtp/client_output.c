/* SPDX-License-Identifier: BSD-3-Clause
 * What the client sends, by state: the envelope, pipelined when offered; the content with DATA, or
 * with BDAT (RFC 3030) when it is large. */
#include "smtp/client_priv.h"
#include "dataplane/base/codec.h"

/* ---- what becomes of a message ---- */

static bool is_ascii(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		if (b.p[i] >= 0x80)
			return false;
	}
	return true;
}

/* Nobody gets it here.  Returns false. */
static bool refuse(struct smtp_client *c, uint16_t code, const char *enhanced, const char *why)
{
	reply_info_make(&c->local, code, enhanced, why);
	client_verdict_for_all(c, SMTP_RCPT_FAIL, &c->local);
	client_message_end(c, false);
	return false;
}

/* RFC 6531 3.2: an address beyond ASCII has no other form.  Its domain has, and came in that. */
static bool skip_addresses(struct smtp_client *c)
{
	static const char why[] = "the address is not ASCII and the next hop takes no SMTPUTF8";

	if (!is_ascii(c->m.sender))
		return refuse(c, 553, "5.6.7",
			"the sender's address is not ASCII and the next hop takes no SMTPUTF8");
	for (uint32_t i = 0; i < c->m.rcpt_count; i++) {
		if (is_ascii(c->ops->rcpt(c->ctx, i).address))
			continue;
		reply_info_make(&c->local, 553, "5.6.7", why);
		client_skip(c, i, &c->local);
	}
	if (c->done < c->m.rcpt_count)
		return true;
	client_message_end(c, false);
	return false;
}

/* The most that this peer takes of what the message is. */
static enum body_type body_for(const struct smtp_client *c)
{
	uint16_t binary = SMTP_EXT_BINARYMIME | SMTP_EXT_CHUNKING;

	if (c->m.body == BODY_BINARYMIME && (c->ext & binary) == binary)
		return BODY_BINARYMIME;
	bool wide = c->m.body != BODY_7BIT || (c->m.smtputf8 && !c->utf8);
	return wide && c->ext & SMTP_EXT_8BITMIME ? BODY_8BITMIME : BODY_7BIT;
}

static bool fit_content(struct smtp_client *c)
{
	bool narrow = c->m.smtputf8 && !c->utf8; /* its header may have to be ASCII now */

	c->body = (uint8_t)body_for(c);
	c->converted = c->body != c->m.body || narrow;
	if (c->converted && (!c->ops->convert || !c->ops->convert(c->ctx, c->body, c->utf8)))
		return refuse(c, 554, "5.6.3",
			"the message has 8-bit content and the next hop takes none");
	uint32_t large = c->demand.bdat_min ? c->demand.bdat_min : SMTP_CLIENT_BDAT_MIN;
	c->chunked = !c->converted && (c->body == BODY_BINARYMIME ||
					      ((c->ext & SMTP_EXT_CHUNKING) && c->m.size >= large));
	return true;
}

/* How the message goes to this peer; false: it does not, its verdicts are given. */
static bool prepare(struct smtp_client *c)
{
	if (c->size_max && c->m.size > c->size_max)
		return refuse(c, 552, "5.3.4", "the message is larger than the next hop accepts");
	if (c->m.requiretls && !(c->demand.secured && c->demand.verified))
		return refuse(c, 550, "5.7.10", "REQUIRETLS: the next hop is not verified by TLS");
	if (c->m.requiretls && !(c->ext & SMTP_EXT_REQUIRETLS))
		return refuse(c, 550, "5.7.30", "the next hop does not support REQUIRETLS");
	c->utf8 = c->m.smtputf8 && c->ext & SMTP_EXT_SMTPUTF8;
	if (c->m.smtputf8 && !c->utf8 && !skip_addresses(c))
		return false;
	return fit_content(c);
}

/* ---- commands ---- */

static void put_path(struct buf *out, const char *keyword, struct bytes path)
{
	buf_str(out, keyword);
	buf_str(out, ":<");
	buf_put(out, path);
	buf_str(out, ">");
}

static void put_field(struct buf *out, const char *keyword, struct bytes value)
{
	if (value.n == 0)
		return;
	buf_str(out, keyword);
	buf_put(out, value);
}

static void put_number(struct buf *out, const char *keyword, uint64_t value)
{
	buf_str(out, keyword);
	dec_u64(out, value, 1);
}

static void put_mail(struct smtp_client *c, struct buf *out)
{
	static const char *const bodies[] = {[BODY_7BIT] = "",
		[BODY_8BITMIME] = " BODY=8BITMIME",
		[BODY_BINARYMIME] = " BODY=BINARYMIME"};

	put_path(out, "MAIL FROM", c->m.sender);
	if (c->ext & SMTP_EXT_SIZE && !c->converted)
		put_number(out, " SIZE=", c->m.size);
	buf_str(out, bodies[c->body]);
	if (c->utf8)
		buf_str(out, " SMTPUTF8");
	if (c->m.requiretls)
		buf_str(out, " REQUIRETLS");
	if (c->m.priority && c->ext & SMTP_EXT_MT_PRIORITY)
		buf_printf(out, " MT-PRIORITY=%d", c->m.priority);
	if (!(c->ext & SMTP_EXT_DSN))
		return;
	if (c->m.ret != RET_DEFAULT)
		buf_str(out, c->m.ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
	put_field(out, " ENVID=", c->m.envid);
}

static void put_rcpt(struct smtp_client *c, struct buf *out, uint32_t i)
{
	struct smtp_client_rcpt r = c->ops->rcpt(c->ctx, i);

	put_path(out, "RCPT TO", r.address);
	if (!(c->ext & SMTP_EXT_DSN))
		return;
	if (r.dsn.notify & NOTIFY_FROM_PEER) {
		buf_str(out, " NOTIFY=");
		dsn_notify_format(out, r.dsn.notify);
	}
	if (c->utf8 || is_ascii(r.dsn.orcpt))
		put_field(out, " ORCPT=", r.dsn.orcpt);
}

static void put_command(struct smtp_client *c, struct buf *out)
{
	if (c->sent == client_data_command(c) && c->chunked) {
		put_number(out, "BDAT ", c->m.size);
		buf_str(out, " LAST");
	} else if (c->sent == client_data_command(c)) {
		buf_str(out, "DATA");
	} else if (c->sent > 0) {
		put_rcpt(c, out, c->sent - 1);
	} else {
		put_mail(c, out);
	}
	buf_str(out, "\r\n");
}

/* Recipients that are not named to this peer. */
static void skip_commands(struct smtp_client *c)
{
	while (c->sent > 0 && c->sent <= c->m.rcpt_count && client_is_skipped(c, c->sent - 1))
		c->sent++;
	client_skip_ahead(c);
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
	if (c->sent == 0 && !c->prepared) {
		c->prepared = true;
		if (!prepare(c))
			return true;
	}
	skip_commands(c);
	if (!command_due(c) || buf_space(out) < SMTP_CLIENT_OUTPUT_MIN)
		return false;
	put_command(c, out);
	c->sent++;
	skip_commands(c);
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
