/* SPDX-License-Identifier: BSD-3-Clause
 * Admin commands about mailbox users.  The password is hashed on the helper thread and wiped here
 * as soon as it has been copied. */
#include "store/control/admin_priv.h"
#include <errno.h>
#include "smtp/address.h"
#include "smtp/saslprep.h"
#include "store/directory.h"

static struct admin_client *client_of_password(struct op *op)
{
	struct password_op *p = container_of(op, struct password_op, op);

	return container_of(p, struct admin_client, work.user.password);
}

static void account_done(struct op *op)
{
	struct account_op *a = container_of(op, struct account_op, op);
	struct admin_client *c = container_of(a, struct admin_client, work.user.account);
	json_t *address = json_stringn((const char *)a->address.p, a->address.n);

	if (op->status == 0) {
		admin_done(c, json_pack("{s:o}", "address", address));
		return;
	}
	char text[ADDRESS_MAX + 1];
	snprintf(text, sizeof(text), "%.*s", (int)a->address.n, (const char *)a->address.p);
	json_decref(address);
	if (op->status == -ENOENT)
		admin_not_found(c, "there is no user %s", text);
	else if (op->status == -EEXIST)
		admin_fail(c, "the user %s exists already", text);
	else
		admin_fail(c, "%s: %s", text, admin_store_error(op->status));
}

static void account_submit(struct admin_client *c)
{
	struct account_op *a = &c->work.user.account;

	a->op.kind = STORE_ACCOUNT;
	a->op.done = account_done;
	c->shard = shard_of_address(c->admin->daemon, a->address);
	admin_submit(c, admin_writer(c), &a->op);
}

static void hash_done(struct op *op)
{
	struct admin_client *c = client_of_password(op);
	struct user_work *w = &c->work.user;

	explicit_bzero(w->password.password, sizeof(w->password.password));
	if (op->status != 0) {
		admin_fail(c, "the password cannot be hashed: %s", strerror(-op->status));
		return;
	}
	w->account.hash = bytes_str(w->password.hash);
	w->account.scram = &w->password.scram;
	account_submit(c);
}

/* The address of the request in canonical form, in work.user.address; false: answered. */
static bool take_address(struct admin_client *c, const json_t *request)
{
	struct user_work *w = &c->work.user;
	char canonical[ADDRESS_MAX];
	struct address parsed;
	struct buf out;
	bool ok;
	const char *text = admin_text(request, "address", ADDRESS_MAX, &ok);

	buf_init(&out, canonical, sizeof(canonical));
	if (!text || address_parse_mailbox(bytes_str(text), &out, &parsed) < 0) {
		admin_fail(c, "the address must be of the form user@domain");
		return false;
	}
	size_t n = directory_fold(buf_view(&out), w->address);
	w->account.address = bytes_make(w->address, n);
	return true;
}

/* A name that looks like another, or that a login could not say, is no name of a mailbox. */
static bool is_prepared(struct admin_client *c)
{
	char text[SASLPREP_MAX];
	struct bytes address = c->work.user.account.address;
	struct buf out;

	buf_init(&out, text, sizeof(text));
	if (saslprep(address, SASLPREP_STORED, &out) == 0 && bytes_eq(buf_view(&out), address))
		return true;
	admin_fail(c, "the local part has characters that look like others, or are not allowed in "
		      "names (RFC 4013)");
	return false;
}

static bool domain_is_local(struct admin_client *c)
{
	const struct directory *d = shards_directory(c->admin->daemon->store);
	struct directory_entry entry;

	return d->lookup(d, c->work.user.account.address, &entry) != DIRECTORY_REMOTE;
}

static bool take_password(struct admin_client *c, const json_t *request)
{
	struct user_work *w = &c->work.user;
	bool ok;
	const char *text = admin_text(request, "password", PASSWORD_MAX, &ok);

	if (!text || !text[0]) {
		admin_fail(c, "the password must be 1 to %d octets", PASSWORD_MAX);
		return false;
	}
	snprintf(w->password.password, sizeof(w->password.password), "%s", text);
	return true;
}

static void set_password(struct admin_client *c, const json_t *request, enum account_action action)
{
	struct user_work *w = &c->work.user;

	if (!take_address(c, request) || !take_password(c, request))
		return;
	if (action == ACCOUNT_ADD && !is_prepared(c))
		return;
	if (action == ACCOUNT_ADD && !domain_is_local(c)) {
		admin_fail(c, "the domain of the address is neither in domains.local nor added by "
			      "`domain add`");
		return;
	}
	w->account.action = (uint8_t)action;
	w->password.op.kind = PASSWORD_HASH;
	w->password.op.done = hash_done;
	admin_submit(c, &c->admin->daemon->hasher, &w->password.op);
}

void admin_user_add(struct admin_client *c, const json_t *request)
{
	set_password(c, request, ACCOUNT_ADD);
}

void admin_user_passwd(struct admin_client *c, const json_t *request)
{
	set_password(c, request, ACCOUNT_PASSWORD);
}

void admin_user_delete(struct admin_client *c, const json_t *request)
{
	if (!take_address(c, request))
		return;
	c->work.user.account.action = ACCOUNT_DELETE;
	account_submit(c);
}

static void change_limits(struct admin_client *c, const json_t *request, enum account_action action)
{
	bool bytes_ok, messages_ok;
	struct account_op *a = &c->work.user.account;

	if (!take_address(c, request))
		return;
	a->action = (uint8_t)action;
	a->quota_bytes = admin_number(request, "quota_bytes", 0, INT64_MAX, &bytes_ok);
	a->quota_messages =
		(uint32_t)admin_number(request, "quota_messages", 0, UINT32_MAX, &messages_ok);
	if (!bytes_ok || !messages_ok)
		admin_fail(c, "quota_bytes and quota_messages must be numbers");
	else
		account_submit(c);
}

void admin_user_quota(struct admin_client *c, const json_t *request)
{
	change_limits(c, request, ACCOUNT_QUOTA);
}

void admin_user_disable(struct admin_client *c, const json_t *request)
{
	change_limits(c, request, ACCOUNT_DISABLE);
}

void admin_user_enable(struct admin_client *c, const json_t *request)
{
	change_limits(c, request, ACCOUNT_ENABLE);
}

static void list_step(struct admin_client *c);

static bool send_user(struct admin_client *c, json_t *object)
{
	c->work.user.listed++;
	admin_send(c, json_incref(object));
	return true;
}

static void list_done(struct op *op)
{
	struct accounts_list_op *l = container_of(op, struct accounts_list_op, op);
	struct admin_client *c = container_of(l, struct admin_client, work.user.list);

	if (op->status != 0)
		chain_free(&l->out);
	else
		admin_lines_each(&l->out, send_user, c);
	bool over = op->status != 0 || l->end;
	if (over && admin_next_shard(c, op->status)) {
		l->from_account = 0;
		over = false;
	}
	if (!over && c->bev)
		list_step(c);
	else if (!admin_shards_failed(c))
		admin_done(c, json_pack("{s:I}", "users", (json_int_t)c->work.user.listed));
}

static void list_step(struct admin_client *c)
{
	struct accounts_list_op *l = &c->work.user.list;

	if (!admin_may_send(c, list_step))
		return;
	l->op.kind = STORE_READ_ACCOUNTS;
	l->op.done = list_done;
	admin_submit(c, admin_reader(c), &l->op);
}

void admin_user_list(struct admin_client *c, const json_t *request)
{
	(void)request;
	list_step(c);
}
