/* SPDX-License-Identifier: BSD-3-Clause
 * A bounded pool of logins under way. */
#include "store/access/authenticator.h"
#include <errno.h>

struct slot {
	struct login login;
	struct list node; /* unused ones */
	struct store_authenticator *owner;
	void (*done)(void *ctx, uint32_t generation, enum auth_result result, uint32_t account);
	void (*found)(void *ctx, uint32_t generation, bool busy, bool known, uint32_t account,
		const struct scram_record *r);
	void *ctx;
	uint32_t generation;
};

struct store_authenticator {
	struct authenticator public;
	struct access *access;
	uint8_t secret[16];
	struct list unused;
	struct slot slots[AUTHENTICATOR_LOGINS];
};

static void on_done(struct login *l, enum login_result result, uint32_t account)
{
	static const enum auth_result results[] = {[LOGIN_OK] = AUTH_RIGHT,
		[LOGIN_WRONG] = AUTH_WRONG,
		[LOGIN_BUSY] = AUTH_BUSY,
		[LOGIN_LIMIT] = AUTH_BUSY};
	struct slot *slot = container_of(l, struct slot, login);

	list_push_tail(&slot->owner->unused, &slot->node);
	slot->done(slot->ctx, slot->generation, results[result], account);
}

static bool ask(struct authenticator *a, const struct auth_question *q)
{
	struct store_authenticator *s = container_of(a, struct store_authenticator, public);
	struct list *node = list_pop_head(&s->unused);

	if (!node)
		return false;
	struct slot *slot = list_entry(node, struct slot, node);
	slot->done = q->done;
	slot->ctx = q->ctx;
	slot->generation = q->generation;
	login_start(&slot->login, s->access, q->user, q->password);
	return true;
}

static void on_credentials(struct op *op)
{
	struct login *l = container_of(op, struct login, credentials.op);
	struct slot *slot = container_of(l, struct slot, login);
	bool busy = op->status != 0 && op->status != -ENOENT;
	bool known = op->status == 0 && l->credentials.has_scram;
	struct scram_record r = l->credentials.scram;

	if (!known)
		scram_fake(&r, bytes_make(l->address, l->address_n), slot->owner->secret);
	explicit_bzero(&l->credentials.scram, sizeof(l->credentials.scram));
	explicit_bzero(l->credentials.hash, sizeof(l->credentials.hash));
	l->busy = false;
	list_push_tail(&slot->owner->unused, &slot->node);
	slot->found(
		slot->ctx, slot->generation, busy, known, known ? l->credentials.account : 0, &r);
	explicit_bzero(&r, sizeof(r));
}

static bool look_up(struct authenticator *a, const struct auth_lookup *q)
{
	struct store_authenticator *s = container_of(a, struct store_authenticator, public);
	struct list *node = list_pop_head(&s->unused);

	if (!node)
		return false;
	struct slot *slot = list_entry(node, struct slot, node);
	slot->found = q->done;
	slot->ctx = q->ctx;
	slot->generation = q->generation;
	login_look_up(&slot->login, s->access, q->user, on_credentials);
	return true;
}

struct store_authenticator *store_authenticator_create(struct access *a, const uint8_t secret[16])
{
	struct store_authenticator *s = calloc(1, sizeof(*s));

	if (!s || access_prepare(a) < 0) {
		free(s);
		return NULL;
	}
	s->public.ask = ask;
	s->public.look_up = look_up;
	memcpy(s->secret, secret, sizeof(s->secret));
	s->access = a;
	list_init(&s->unused);
	for (unsigned i = 0; i < AUTHENTICATOR_LOGINS; i++) {
		s->slots[i].owner = s;
		s->slots[i].login.done = on_done;
		list_push_tail(&s->unused, &s->slots[i].node);
	}
	return s;
}

struct authenticator *store_authenticator_public(struct store_authenticator *s)
{
	return s ? &s->public : NULL;
}

void store_authenticator_destroy(struct store_authenticator **s)
{
	free(*s);
	*s = NULL;
}
