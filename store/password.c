/* SPDX-License-Identifier: BSD-3-Clause
 * The password helper: one thread, kernel-scheduled; crypt(3) with yescrypt for what it makes, and
 * whatever libcrypt knows for what it checks. */
#include "store/password.h"
#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "smtp/saslprep.h"

#define SETTING_PREFIX "$y$" /* yescrypt; cost 0 of crypt_gensalt: libcrypt's default */
#define IDLE_US        1000000
#define OPS_PER_TAKE   16

struct password_service {
	struct service service;
	pthread_t thread;
	bool running;
	struct crypt_data data;        /* 32 KiB of scratch; wiped after each use */
	char dummy[PASSWORD_HASH_MAX]; /* hash of nothing anybody knows: same cost as a real check
					*/
};

static int hash_make(struct password_service *p, const char *password, char *out)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!crypt_gensalt_rn(SETTING_PREFIX, 0, NULL, 0, setting, sizeof(setting)))
		return -errno;
	const char *hash = crypt_r(password, setting, &p->data);
	if (!hash || hash[0] == '*')
		return -EINVAL;
	if (strlen(hash) >= PASSWORD_HASH_MAX)
		return -E2BIG;
	snprintf(out, PASSWORD_HASH_MAX, "%s", hash);
	return 0;
}

/* Takes the same time wherever the first difference is. */
static bool equal(const char *a, const char *b)
{
	size_t n = strlen(a);
	unsigned char diff = 0;

	if (n != strlen(b))
		return false;
	for (size_t i = 0; i < n; i++)
		diff |= (unsigned char)(a[i] ^ b[i]);
	return diff == 0;
}

/* RFC 4013, in place.  False: the password has no such form, and is as it was. */
static bool prepare(char password[PASSWORD_MAX + 1], enum saslprep_use use)
{
	char text[PASSWORD_MAX];
	struct buf out;

	buf_init(&out, text, sizeof(text));
	bool ok = saslprep(bytes_str(password), use, &out) == 0;
	if (ok) {
		memcpy(password, text, out.n);
		password[out.n] = '\0';
	}
	explicit_bzero(text, sizeof(text));
	return ok;
}

static int verify_text(
	struct password_service *p, const struct password_op *op, const char *password)
{
	bool known = op->hash[0] != '\0';
	const char *setting = known ? op->hash : p->dummy;
	const char *hash = crypt_r(password, setting, &p->data);

	if (!hash || hash[0] == '*' || !known || !equal(hash, setting))
		return -EACCES;
	return 0;
}

/* A hash from elsewhere may be of what was typed. */
static int verify(struct password_service *p, struct password_op *op)
{
	char typed[PASSWORD_MAX + 1];

	memcpy(typed, op->password, sizeof(typed));
	bool other = prepare(op->password, SASLPREP_QUERY) && strcmp(typed, op->password) != 0;
	int err = verify_text(p, op, op->password);
	if (err < 0 && other)
		err = verify_text(p, op, typed);
	explicit_bzero(typed, sizeof(typed));
	return err;
}

/* What can be typed in one way only: passwords of the helper's making are in SASLprep's form. */
static int make(struct password_service *p, struct password_op *op)
{
	if (!prepare(op->password, SASLPREP_STORED))
		return -EINVAL;
	int err = hash_make(p, op->password, op->hash);
	return err ? err : scram_derive(&op->scram, bytes_str(op->password));
}

static void execute(struct password_service *p, struct op *o)
{
	struct password_op *op = container_of(o, struct password_op, op);

	op->password[PASSWORD_MAX] = '\0';
	op->hash[PASSWORD_HASH_MAX - 1] = '\0';
	switch (o->kind) {
	case PASSWORD_VERIFY:
		o->status = verify(p, op);
		break;
	case PASSWORD_HASH:
		o->status = make(p, op);
		break;
	default:
		o->status = -EINVAL;
	}
	explicit_bzero(op->password, sizeof(op->password));
	explicit_bzero(&p->data, sizeof(p->data));
	channel_complete(o);
}

static void *thread_main(void *arg)
{
	struct password_service *p = arg;
	struct op *ops[OPS_PER_TAKE];

	log_thread_init("password");
	counters_thread_init("password");
	for (;;) {
		bool stopping = service_stopping(&p->service);
		unsigned n = service_take(&p->service, ops, OPS_PER_TAKE);
		for (unsigned i = 0; i < n; i++)
			execute(p, ops[i]);
		if (n == 0 && stopping)
			return NULL;
		if (n == 0)
			service_sleep(&p->service, IDLE_US);
	}
}

struct password_service *password_service_create(void)
{
	struct password_service *p =
		aligned_alloc(CACHE_LINE, (sizeof(*p) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	if (service_init(&p->service) < 0) {
		free(p);
		return NULL;
	}
	if (hash_make(p, "", p->dummy) < 0)
		password_service_destroy(&p);
	return p;
}

struct service *password_service_server(struct password_service *p)
{
	return &p->service;
}

int password_service_start(struct password_service *p)
{
	int err = pthread_create(&p->thread, NULL, thread_main, p);

	p->running = err == 0;
	return -err;
}

void password_service_stop(struct password_service *p)
{
	if (!p->running)
		return;
	service_stop(&p->service);
	pthread_join(p->thread, NULL);
	p->running = false;
}

void password_service_destroy(struct password_service **pp)
{
	struct password_service *p = *pp;

	if (!p)
		return;
	password_service_stop(p);
	service_fini(&p->service);
	free(p);
	*pp = NULL;
}
