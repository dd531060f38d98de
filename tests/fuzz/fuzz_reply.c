/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: a client against a hostile server.  First octet: how the replies are cut; second: what is
 * demanded of the session.  Each recipient gets one verdict, the session ends once, and nobody is
 * delivered unless the content went out. */
#include "smtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RCPTS 3

struct user {
	struct smtp_client client;
	struct sasl_salted salted;
	struct sasl_client sasl;
	unsigned ends, messages, verdicts[RCPTS];
	unsigned started;
	bool content_done, under_way;
};

static void on_ready(void *ctx)
{
	struct user *u = ctx;
	struct smtp_client_message m = {.sender = BYTES_LIT("a@b.example"),
		.rcpt_count = RCPTS,
		.size = 10,
		.body = (uint8_t)(u->started % 3),
		.smtputf8 = u->started & 1,
		.ret = RET_HDRS,
		.envid = BYTES_LIT("id")};

	BUG_ON(u->under_way);
	if (u->started++ == 3) {
		smtp_client_quit(&u->client);
		return;
	}
	u->content_done = false;
	u->under_way = true;
	memset(u->verdicts, 0, sizeof(u->verdicts));
	smtp_client_send(&u->client, &m);
}

static void on_rcpt(
	void *ctx, uint32_t i, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	struct user *u = ctx;

	BUG_ON(i >= RCPTS || !u->under_way || u->verdicts[i]++);
	BUG_ON(result == SMTP_RCPT_DELIVERED && (!u->content_done || reply->code / 100 != 2));
	BUG_ON(reply->text_n > SMTP_REPLY_TEXT_MAX);
	for (unsigned k = 0; k < reply->text_n; k++)
		BUG_ON(reply->text[k] < ' ' || reply->text[k] > '~');
}

static void on_message_end(void *ctx)
{
	struct user *u = ctx;

	BUG_ON(!u->under_way);
	for (unsigned i = 0; i < RCPTS; i++)
		BUG_ON(u->verdicts[i] != 1);
	u->under_way = false;
	u->messages++;
}

static void on_end(void *ctx, const struct smtp_reply_info *reply)
{
	struct user *u = ctx;

	(void)reply;
	BUG_ON(u->ends++ || u->under_way);
}

static struct smtp_client_rcpt rcpt(void *ctx, uint32_t i)
{
	(void)ctx;
	BUG_ON(i >= RCPTS);
	return (struct smtp_client_rcpt){
		.address = i == 1 ? BYTES_LIT("\xc3\xa9@far.example") : BYTES_LIT("x@far.example"),
		.dsn = {.notify = NOTIFY_SUCCESS | NOTIFY_DELAY, .orcpt = BYTES_LIT("rfc822;x@y")}
        };
}

static bool convert(void *ctx, enum body_type to, bool utf8)
{
	struct user *u = ctx;

	(void)utf8;
	return to == BODY_8BITMIME || u->started % 2;
}

static struct bytes content(void *ctx, size_t want, bool *end_r)
{
	struct user *u = ctx;

	BUG_ON(want < 10);
	*end_r = u->content_done = true;
	return BYTES_LIT("a\r\n.b\r\n..");
}

static const struct smtp_client_ops ops = {
	.on_ready = on_ready,
	.on_rcpt = on_rcpt,
	.on_message_end = on_message_end,
	.on_end = on_end,
	.rcpt = rcpt,
	.convert = convert,
	.content = content,
};

static void flush(struct user *u)
{
	uint8_t memory[SMTP_CLIENT_OUTPUT_MIN + 100];
	struct buf out;

	do {
		buf_init(&out, memory, sizeof(memory));
		smtp_client_output(&u->client, &out);
		BUG_ON(out.overflow);
	} while (out.n || smtp_client_works(&u->client));
}

static void demand(struct user *u, uint8_t how)
{
	static const struct sasl_login login = {.user = "user", .password = "pencil"};
	struct smtp_client_demand d = {
		.tls = how % 3, .lmtp = how & 16, .secured = (how & 96) == 96};

	if (how & 128) {
		d.login = &login;
		d.salted = &u->salted;
		d.sasl = &u->sasl;
	}

	smtp_client_demand(&u->client, &d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct user u = {0};

	if (size < 2)
		return 0;
	size_t step = 1u + data[0];
	smtp_client_init(&u.client, &ops, &u, "mx.example.org");
	demand(&u, data[1]);
	flush(&u);
	for (size_t at = 2; at < size; at += step) {
		smtp_client_input(&u.client, bytes_make(data + at, MIN(step, size - at)));
		if (smtp_client_state(&u.client) == SMTP_CLIENT_HANDSHAKE && data[1] & 8)
			smtp_client_secured(&u.client);
		flush(&u);
	}
	smtp_client_disconnected(&u.client, "end of input");
	BUG_ON(u.ends != 1);
	return 0;
}
