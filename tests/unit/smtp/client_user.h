/* SPDX-License-Identifier: BSD-3-Clause
 * The user of a client engine in tests: what it sends and hears, octet for octet. */
#pragma once
#include "tests/unit/smtp/unit.h"
#include "smtp/client.h"

#define RCPTS_MAX 8
#define WIRE_MAX  131072

struct user {
	struct smtp_client client;
	struct smtp_client_message message;
	const char *rcpts[RCPTS_MAX];
	struct dsn_rcpt dsn[RCPTS_MAX];
	struct bytes content;
	bool no_convert, utf8;
	enum body_type to;
	unsigned converts;
	size_t content_at;
	size_t content_step; /* octets per content() at most */
	unsigned stall;      /* content() has nothing this often */
	unsigned to_send;    /* messages to start when ready */
	/* seen */
	unsigned ready, ends, message_ends;
	enum smtp_rcpt_result results[RCPTS_MAX];
	struct smtp_reply_info replies[RCPTS_MAX], last;
	bool commands_of; /* note the command that the last verdict was about */
	enum smtp_client_command command;
	uint8_t wire[WIRE_MAX];
	size_t wire_n;
	size_t piece;                   /* octets fed at a time; 0: all */
	size_t binding[SCRAM_CHANNELS]; /* octets, all the number of their kind */
};

static inline void on_ready(void *ctx)
{
	struct user *u = ctx;

	u->ready++;
	if (u->to_send == 0)
		return;
	u->to_send--;
	u->content_at = 0;
	memset(u->results, 0, sizeof(u->results));
	smtp_client_send(&u->client, &u->message);
}

static inline void on_rcpt(
	void *ctx, uint32_t i, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	struct user *u = ctx;

	assert_true(i < u->message.rcpt_count);
	assert_int_equal(u->results[i], SMTP_RCPT_PENDING); /* each exactly once */
	u->results[i] = result;
	if (u->commands_of)
		u->command = smtp_client_command(&u->client);
	u->replies[i] = *reply;
}

static inline void on_message_end(void *ctx)
{
	struct user *u = ctx;

	u->message_ends++;
	for (uint32_t i = 0; i < u->message.rcpt_count; i++)
		assert_int_not_equal(u->results[i], SMTP_RCPT_PENDING);
}

static inline void on_end(void *ctx, const struct smtp_reply_info *reply)
{
	struct user *u = ctx;

	u->ends++;
	u->last = *reply;
}

static inline struct smtp_client_rcpt rcpt(void *ctx, uint32_t i)
{
	struct user *u = ctx;

	return (struct smtp_client_rcpt){.address = bytes_str(u->rcpts[i]), .dsn = u->dsn[i]};
}

static inline bool convert(void *ctx, enum body_type to, bool utf8)
{
	struct user *u = ctx;

	u->converts++;
	u->to = to;
	u->utf8 = utf8;
	return !u->no_convert;
}

static inline struct bytes content(void *ctx, size_t want, bool *end_r)
{
	struct user *u = ctx;

	if (u->stall && u->content_at) {
		u->stall--;
		return BYTES_NONE;
	}
	struct bytes b =
		bytes_first(bytes_skip(u->content, u->content_at), MIN(want, u->content_step));
	u->content_at += b.n;
	*end_r = u->content_at == u->content.n;
	return b;
}

static inline size_t channel(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX])
{
	const struct user *u = ctx;

	memset(out, kind, u->binding[kind]);
	return u->binding[kind];
}

static const struct smtp_client_ops ops = {
	.on_ready = on_ready,
	.on_rcpt = on_rcpt,
	.on_message_end = on_message_end,
	.on_end = on_end,
	.rcpt = rcpt,
	.convert = convert,
	.content = content,
	.channel = channel,
};

static inline void begin(struct user *u, size_t piece)
{
	memset(u, 0, sizeof(*u));
	u->piece = piece;
	u->rcpts[0] = "a@far.example";
	u->rcpts[1] = "b@far.example";
	u->content = BYTES_LIT("Subject: x\r\n\r\n.dot\r\n");
	u->content_step = 5;
	u->to_send = 1;
	u->message = (struct smtp_client_message){
		.sender = BYTES_LIT("s@near.example"), .rcpt_count = 2, .size = u->content.n};
	smtp_client_init(&u->client, &ops, u, "mx.example.org");
}

static inline void flush(struct user *u)
{
	uint8_t memory[SMTP_CLIENT_OUTPUT_MIN + 100];
	struct buf out;

	do {
		buf_init(&out, memory, sizeof(memory));
		smtp_client_output(&u->client, &out);
		assert_true(u->wire_n + out.n < WIRE_MAX);
		memcpy(u->wire + u->wire_n, out.p, out.n);
		u->wire_n += out.n;
	} while (out.n);
}

/* The server says this; then the client says exactly that. */
static inline void dialogue(struct user *u, const char *server, const char *client)
{
	struct bytes in = bytes_str(server);

	while (in.n) {
		size_t n = u->piece ? MIN(u->piece, in.n) : in.n;
		uint8_t *copy = malloc(n);
		memcpy(copy, in.p, n);
		smtp_client_input(&u->client, bytes_make(copy, n));
		free(copy);
		in = bytes_skip(in, n);
		flush(u);
	}
	flush(u);
	assert_bytes_equal(bytes_make(u->wire, u->wire_n), bytes_str(client));
	u->wire_n = 0;
}

#define EHLO_REPLY "250-far\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
#define ENVELOPE                                                                                   \
	"MAIL FROM:<s@near.example> SIZE=20\r\nRCPT TO:<a@far.example>\r\n"                        \
	"RCPT TO:<b@far.example>\r\nDATA\r\n"
#define CONTENT "Subject: x\r\n\r\n..dot\r\n.\r\n"

static inline void open_session(struct user *u, size_t piece)
{
	begin(u, piece);
	dialogue(u, "220 far ESMTP\r\n", "EHLO mx.example.org\r\n");
	dialogue(u, EHLO_REPLY, ENVELOPE);
}
