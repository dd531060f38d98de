/* SPDX-License-Identifier: BSD-3-Clause
 * Certificates and ticket keys while the daemon runs.  Main reads files and makes contexts; each
 * core takes its own between two laps and gives the old one back, so that nobody waits and sessions
 * go on with what they began with. */
#include "store/control/renew.h"
#include <errno.h>
#include "dataplane/base/log.h"
#include "store/control/certificates.h"

#define ROTATE_US (2 * 3600 * US_PER_SEC) /* chosen: tickets live two rotations (tls_config.c) */

void renew_take(struct core_rooms *r)
{
	if (likely(!atomic_load_explicit(&r->tls_next, memory_order_relaxed)))
		return;
	struct tls_config *next =
		atomic_exchange_explicit(&r->tls_next, NULL, memory_order_acquire);
	if (r->smtp)
		smtp_server_set_tls(r->smtp, next);
	if (r->delivery)
		delivery_set_tls(r->delivery, next);
	r->access.tls_config = next;
	atomic_store_explicit(&r->tls_taken, true, memory_order_release);
}

static bool is_pending(const struct core_rooms *r)
{
	return r->tls_old && !atomic_load_explicit(&r->tls_taken, memory_order_acquire);
}

void renew_collect(struct daemon *d, uint64_t now_us)
{
	for (unsigned i = 0; i < d->core_count; i++) {
		struct core_rooms *r = &d->rooms[i];
		if (r->tls_old && !is_pending(r))
			tls_config_destroy(&r->tls_old);
	}
	if (d->rotated_us == 0)
		d->rotated_us = now_us;
	if (now_us - d->rotated_us < ROTATE_US)
		return;
	d->rotated_us = now_us;
	for (unsigned i = 0; i < d->core_count; i++) {
		if (d->rooms[i].tls_config)
			tls_config_rotate_tickets(d->rooms[i].tls_config);
	}
}

/* All or none. */
static int make_all(struct daemon *d, const struct certificates *c, struct tls_config **made,
	char *error, size_t error_n)
{
	for (unsigned i = 0; i < d->core_count; i++) {
		if (!d->rooms[i].tls_config)
			continue;
		made[i] = certificates_tls(c, error, error_n);
		if (made[i])
			continue;
		while (i--)
			tls_config_destroy(&made[i]);
		return -EINVAL;
	}
	return 0;
}

static void hand_over(struct core_rooms *r, struct tls_config *next)
{
	r->tls_old = r->tls_config;
	r->tls_config = next;
	atomic_store_explicit(&r->tls_taken, false, memory_order_relaxed);
	atomic_store_explicit(&r->tls_next, next, memory_order_release);
	waker_kick(&r->core->waker);
}

int renew_certificates(struct daemon *d, char *error, size_t error_n)
{
	struct tls_config *made[CORES_MAX] = {0};
	struct certificates *c;

	renew_collect(d, d->rotated_us);
	for (unsigned i = 0; i < d->core_count; i++) {
		if (!d->rooms[i].tls_old)
			continue;
		snprintf(error, error_n, "the last change is still being taken over");
		return -EBUSY;
	}
	int err = certificates_read(d->config, &c, error, error_n);
	if (err < 0)
		return err;
	err = make_all(d, c, made, error, error_n);
	certificates_destroy(&c);
	for (unsigned i = 0; i < d->core_count && err == 0; i++) {
		if (made[i])
			hand_over(&d->rooms[i], made[i]);
	}
	return err;
}
