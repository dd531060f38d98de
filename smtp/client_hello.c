/* SPDX-License-Identifier: BSD-3-Clause
 * The client engine before its first message: what the peer says it can do, STARTTLS, AUTH. */
#include "dataplane/base/codec.h"
#include "smtp/client_priv.h"

static void learn_size(struct smtp_client *c, struct bytes params)
{
	if (bytes_to_u64(params, &c->size_max) < 0)
		c->size_max = 0;
}

/* RFC 9422 3: "RCPTMAX=100 MAILMAX=20"; what is not known or no number is left out. */
static void learn_limits(struct smtp_client *c, struct bytes params)
{
	const struct {
		struct bytes name;
		uint32_t *limit;
	} known[] = {
		{BYTES_LIT("RCPTMAX="),       &c->rcpt_max  },
		{BYTES_LIT("MAILMAX="),       &c->mail_max  },
		{BYTES_LIT("RCPTDOMAINMAX="), &c->domain_max},
	};

	while (params.n) {
		ptrdiff_t space = bytes_find(params, ' ', 0);
		struct bytes word = space < 0 ? params : bytes_first(params, (size_t)space);
		uint64_t v;
		for (size_t i = 0; i < ARRAY_LEN(known); i++) {
			if (bytes_istarts(word, known[i].name) &&
				bytes_to_u64(bytes_skip(word, known[i].name.n), &v) == 0 && v > 0)
				*known[i].limit = (uint32_t)MIN(v, (uint64_t)UINT32_MAX);
		}
		params = bytes_skip(params, word.n + 1);
	}
}

static void learn_auth(struct smtp_client *c, struct bytes params)
{
	c->mechanisms |= (uint8_t)sasl_client_offered(params);
}

void client_learn_extension(struct smtp_client *c, struct bytes line)
{
	static const struct {
		const char *keyword;
		enum smtp_client_ext ext;
		void (*params)(struct smtp_client *c, struct bytes params);
	} known[] = {
		{"PIPELINING",  SMTP_EXT_PIPELINING,  NULL        },
		{"BINARYMIME",  SMTP_EXT_BINARYMIME,  NULL        },
		{"SMTPUTF8",    SMTP_EXT_SMTPUTF8,    NULL        },
		{"DSN",         SMTP_EXT_DSN,         NULL        },
		{"REQUIRETLS",  SMTP_EXT_REQUIRETLS,  NULL        },
		{"LIMITS",      SMTP_EXT_LIMITS,      learn_limits},
		{"MT-PRIORITY", SMTP_EXT_MT_PRIORITY, NULL        },
		{"8BITMIME",    SMTP_EXT_8BITMIME,    NULL        },
		{"CHUNKING",    SMTP_EXT_CHUNKING,    NULL        },
		{"STARTTLS",    SMTP_EXT_STARTTLS,    NULL        },
		{"AUTH",        SMTP_EXT_AUTH,        learn_auth  },
		{"SIZE",        SMTP_EXT_SIZE,        learn_size  },
	};
	ptrdiff_t space = bytes_find(line, ' ', 0);
	struct bytes word = space < 0 ? line : bytes_first(line, (size_t)space);

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!bytes_ieq(word, bytes_str(known[i].keyword)) ||
			c->demand.ignored & known[i].ext)
			continue;
		c->ext |= (uint16_t)known[i].ext;
		if (known[i].params)
			known[i].params(c, bytes_skip(line, word.n + 1));
	}
}

void client_on_greeting(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code == 220)
		client_set_state(c, SMTP_CLIENT_EHLO, true);
	else
		client_end_session(c, SMTP_RCPT_DEFER, r);
}

static void bind_to(const struct smtp_client *c, enum scram_channel kind, struct sasl_channel *out)
{
	if (out->n)
		return;
	out->kind = (uint8_t)kind;
	out->n = (uint8_t)c->ops->channel(c->ctx, kind, out->octets);
}

/* The exporter is bound to this very session; the end point to whoever has the certificate. */
static void find_channel(const struct smtp_client *c, struct sasl_channel *out)
{
	bool exporter_first = !c->demand.salted->exporter_failed;

	out->n = 0;
	if (!c->demand.secured || !c->ops->channel)
		return;
	if (exporter_first)
		bind_to(c, SCRAM_CHANNEL_EXPORTER, out);
	bind_to(c, SCRAM_CHANNEL_END_POINT, out);
	bind_to(c, SCRAM_CHANNEL_EXPORTER, out);
}

static bool auth_begin(struct smtp_client *c)
{
	const struct smtp_client_demand *d = &c->demand;
	unsigned wanted = d->mechanisms ? d->mechanisms : UINT8_MAX;
	struct sasl_channel channel;

	find_channel(c, &channel);
	return sasl_client_begin(d->sasl, d->login, d->salted, c->mechanisms & wanted, d->secured,
		wanted & SASL_CLIENT_SCRAM_PLUS ? &channel : NULL);
}

static void authenticate(struct smtp_client *c)
{
	const struct smtp_client_demand *d = &c->demand;

	if (!d->login)
		client_become_ready(c);
	else if (auth_begin(c))
		client_set_state(c, SMTP_CLIENT_AUTH, true);
	else
		client_refuse_session(c, 454, "4.7.0",
			d->secured ? "AUTH is required here and no mechanism of ours is offered"
				   : "AUTH is required here and not safe without TLS");
}

/* The peer has introduced itself: what is left to do before it gets mail. */
static void introduced(struct smtp_client *c)
{
	bool wanted = c->demand.tls != SMTP_CLIENT_TLS_NONE && !c->demand.secured;

	if (wanted && c->ext & SMTP_EXT_STARTTLS)
		client_set_state(c, SMTP_CLIENT_STARTTLS, true);
	else if (wanted && c->demand.tls == SMTP_CLIENT_TLS_MUST)
		client_refuse_session(c, 454, "4.7.4", "TLS is required here and not offered");
	else
		authenticate(c);
}

void client_on_ehlo(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 2) {
		introduced(c);
	} else if (r->code >= 500 && !c->demand.lmtp) {
		c->ext = 0;
		client_set_state(c, SMTP_CLIENT_HELO, true);
	} else {
		client_end_session(c, SMTP_RCPT_DEFER, r);
	}
}

void client_on_helo(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code / 100 == 2)
		introduced(c);
	else
		client_end_session(c, SMTP_RCPT_DEFER, r);
}

void client_on_starttls(struct smtp_client *c, const struct smtp_reply_info *r)
{
	if (r->code == 220) {
		client_set_state(c, SMTP_CLIENT_HANDSHAKE, false);
	} else if (c->demand.tls == SMTP_CLIENT_TLS_MAY && r->code >= 400) {
		authenticate(c); /* RFC 3207 4: the session goes on as it was */
	} else {
		client_end_session(c, SMTP_RCPT_DEFER, r);
	}
}

static void on_challenge(struct smtp_client *c)
{
	uint8_t memory[SMTP_REPLY_LINE_MAX];
	struct buf challenge;

	buf_init(&challenge, memory, sizeof(memory));
	if (base64_decode(&challenge, reply_parser_text(&c->parser)) < 0)
		client_fail(c, "the peer's challenge is no base64");
	else
		client_auth_step(c, buf_view(&challenge));
}

void client_on_auth(struct smtp_client *c, const struct smtp_reply_info *r)
{
	const struct sasl_client *sasl = c->demand.sasl;
	bool proven = sasl_client_proven(sasl);

	if (r->code == 334) {
		on_challenge(c);
		return;
	}
	if (r->code / 100 != 2 && sasl->mechanism == SASL_CLIENT_SCRAM_PLUS)
		c->demand.salted->exporter_failed = sasl->channel.kind == SCRAM_CHANNEL_EXPORTER;
	sasl_client_end(c->demand.sasl);
	c->known = r->code / 100 == 2 && proven;
	if (c->known)
		client_become_ready(c);
	else if (r->code / 100 == 2)
		client_refuse_session(c, 454, "4.7.8", "the peer has not proven who it is");
	else
		client_end_session(c, SMTP_RCPT_DEFER, r);
}
