/* SPDX-License-Identifier: BSD-3-Clause
 * Start and stop of the whole, in order: ports and store are opened with the rights we were started
 * with, threads begin to work without them. */
#include "store/control/daemon.h"
#include <errno.h>
#include <rte_launch.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "smtp/guess.h"
#include "store/control/admin.h"
#include "store/control/convert.h"
#include "store/control/metrics.h"
#include "store/control/privileges.h"
#include "store/control/telemetry.h"

struct starting {
	struct daemon *d;
	struct privileges privileges;
	char *error;
	size_t error_n;
};

/* More than there is would be found out by the kernel's OOM killer, in the middle of the work. */
static int check_memory(const struct starting *s)
{
	const struct config_root *c = &s->d->config->root;
	uint64_t have = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	const char *key = c->limits.body_memory > have ? "limits.body_memory"
			  : c->cores.memory > have     ? "cores.memory"
						       : NULL;

	if (!key)
		return 0;
	snprintf(s->error, s->error_n, "key %s: this machine has %llu MiB of memory only", key,
		(unsigned long long)(have >> 20));
	return -ENOMEM;
}

static int start_dataplane(struct starting *s)
{
	struct daemon *d = s->d;

	if (check_memory(s) < 0)
		return -ENOMEM;
	config_to_dataplane(d->config, &d->dataplane);
	int err = dataplane_eal_start(&d->dataplane, s->error, s->error_n);
	if (err < 0)
		return err;
	d->have_dataplane = true;
	err = dataplane_start(&d->dataplane, d->cores, s->error, s->error_n);
	if (err < 0)
		return err;
	d->core_count = d->dataplane.core_count;
	guess_init();
	err = message_pool_init(config_message_heads(d->config), -1);
	if (err < 0)
		snprintf(s->error, s->error_n,
			"key limits.body_memory: no memory for %u message heads (key cores.memory)",
			config_message_heads(d->config));
	else
		d->have_messages = true;
	return err;
}

/* Nobody's mail is thrown away by a mistyped command. */
static int check_discard(struct starting *s)
{
	struct store_info info;

	if (!s->d->options.discard)
		return 0;
	shards_get_info(s->d->store, &info);
	if (info.queued_messages == 0 && info.accounts == 0)
		return 0;
	snprintf(s->error, s->error_n,
		"key store.path: --discard is refused: the store holds mail or accounts");
	return -EBUSY;
}

/* The directories of all shards, made with the rights we were started with. */
static int start_directories(struct starting *s, const struct store_conf *conf)
{
	char path[1024];
	int err = 0;

	for (unsigned i = 0; i < conf->shards && err == 0; i++) {
		shards_path(conf, i, path, sizeof(path));
		err = privileges_directory(&s->privileges, i ? "store.shard_paths" : "store.path",
			path, 0700, s->error, s->error_n);
	}
	return err;
}

static int start_store(struct starting *s)
{
	struct daemon *d = s->d;
	struct store_conf conf;

	config_to_store(d->config, &conf);
	conf.mutant_no_sync = d->options.mutant_no_sync;
	int err = start_directories(s, &conf);
	if (err == 0)
		err = privileges_borrow(&s->privileges, s->error, s->error_n);
	if (err < 0)
		return err;
	err = shards_open(&conf, &d->store, s->error, s->error_n);
	privileges_return(&s->privileges);
	if (err < 0 && !strstr(s->error, "store.path")) {
		char text[256];
		snprintf(text, sizeof(text), "key store.path: %s", s->error);
		snprintf(s->error, s->error_n, "%s", text);
	}
	return err < 0 ? err : check_discard(s);
}

static int start_helpers(struct starting *s)
{
	struct daemon *d = s->d;
	struct dns_conf conf;

	config_to_dns(d->config, &conf);
	int err = dns_service_create(&conf, &d->dns, s->error, s->error_n);
	if (err < 0)
		return err;
	d->signer = tls_signer_create();
	if (!d->signer) {
		snprintf(s->error, s->error_n, "cannot make the signing helper: out of memory");
		return -ENOMEM;
	}
	d->passwords = password_service_create();
	if (!d->passwords) {
		snprintf(s->error, s->error_n, "cannot make the password helper: out of memory");
		return -ENOMEM;
	}
	config_to_policy(d->config, shards_directory(d->store), &d->policy);
	return 0;
}

static int join_main(
	struct daemon *d, struct channel *ch, const char *name, struct service *service)
{
	int err = channel_init(ch, name, (uint32_t)d->config->root.cores.ring_size, &d->waker,
		&service->waker, -1);

	return err < 0 ? err : service_add(service, ch);
}

static int join_main_shard(struct daemon *d, unsigned i)
{
	struct store *store = shards_get(d->store, i);
	char writer[20], reader[20];

	snprintf(writer, sizeof(writer), i ? "main.wr.s%u" : "main.wr", i);
	snprintf(reader, sizeof(reader), i ? "main.rd.s%u" : "main.rd", i);
	int err = join_main(d, &d->writers[i], writer, store_writer(store));

	return err == 0 ? join_main(d, &d->readers[i], reader, store_reader(store, 0)) : err;
}

static int start_main_channels(struct starting *s)
{
	struct daemon *d = s->d;
	int err = waker_init(&d->waker);

	d->have_waker = err == 0;
	for (unsigned i = 0; i < shards_count(d->store) && err == 0; i++)
		err = join_main_shard(d, i);
	if (err == 0)
		err = join_main(d, &d->hasher, "main.pw", password_service_server(d->passwords));
	if (err < 0)
		snprintf(s->error, s->error_n, "cannot make the main thread's channels: %s",
			strerror(-err));
	return err;
}

static int seal_lcore(void *arg)
{
	(void)arg;
	privileges_seal();
	return 0;
}

static int drop_privileges(struct starting *s)
{
	int err = privileges_drop(&s->privileges, s->error, s->error_n);

	if (err < 0)
		return err;
	privileges_seal(); /* per thread: helpers inherit it, lcores exist already */
	err = rte_eal_mp_remote_launch(seal_lcore, NULL, SKIP_MAIN);
	rte_eal_mp_wait_lcore();
	if (s->privileges.drop)
		log_info("control", "privileges dropped user=%s uid=%u", s->privileges.user,
			(unsigned)s->privileges.uid);
	else if (geteuid() == 0)
		log_warn("control", "running as root: set node.user to another user");
	return err;
}

static int start_threads(struct starting *s)
{
	struct daemon *d = s->d;
	const char *what = "store threads";
	int err = shards_start(d->store);

	d->store_started = err == 0;
	if (err == 0) {
		what = "DNS helper";
		err = dns_service_start(d->dns);
		d->dns_started = err == 0;
	}
	if (err == 0) {
		what = "password helper";
		err = password_service_start(d->passwords);
		d->passwords_started = err == 0;
	}
	if (err == 0) {
		what = "signing helper";
		err = tls_signer_start(d->signer);
		d->signer_started = err == 0;
	}
	if (err == 0) {
		what = "polling cores";
		err = dataplane_launch(d->cores, d->core_count);
		d->cores_started = err == 0;
	}
	if (err < 0)
		snprintf(s->error, s->error_n, "cannot start the %s: %s", what, strerror(-err));
	return err;
}

int daemon_start(struct daemon *d, char *error, size_t error_n)
{
	static int (*const steps[])(struct starting * s) = {
		start_dataplane, start_store, start_helpers, start_main_channels};
	struct starting s = {.d = d, .error = error, .error_n = error_n};

	error[0] = '\0';
	d->started_ms = clock_wall_ms();
	counters_thread_init("main");
	int err = privileges_find(&s.privileges, d->config->root.node.user, error, error_n);
	if (err == 0)
		err = logfile_open(d, &s.privileges, error, error_n);
	for (size_t i = 0; i < ARRAY_LEN(steps) && err == 0; i++)
		err = steps[i](&s);
	if (err == 0)
		err = telemetry_create(d, error, error_n);
	if (err == 0)
		err = rooms_create(d, error, error_n);
	if (err == 0)
		err = loop_create(d, error, error_n);
	if (err == 0)
		err = admin_create(d, &s.privileges, &d->admin, error, error_n);
	if (err == 0)
		err = metrics_create(d, error, error_n);
	if (err == 0)
		err = drop_privileges(&s);
	if (err == 0)
		err = start_threads(&s);
	if (err < 0 && !error[0])
		snprintf(error, error_n, "cannot start: %s", strerror(-err));
	return err;
}

static void stop_threads(struct daemon *d)
{
	if (d->cores_started) {
		for (unsigned i = 0; i < d->core_count; i++)
			core_stop(&d->cores[i]);
		dataplane_join();
	}
	if (d->dns_started)
		dns_service_stop(d->dns);
	if (d->passwords_started)
		password_service_stop(d->passwords);
	if (d->signer_started)
		tls_signer_stop(d->signer);
	/* Last: what the cores have submitted is committed, though nobody waits for it any more. */
	if (d->store_started)
		shards_stop(d->store);
}

void daemon_stop(struct daemon *d)
{
	telemetry_destroy(d);
	stop_threads(d);
	metrics_destroy(d);
	admin_destroy(&d->admin);
	loop_destroy(d);
	rooms_destroy(d);
	for (unsigned i = 0; i < STORE_SHARDS_MAX; i++) {
		channel_fini(&d->writers[i]);
		channel_fini(&d->readers[i]);
	}
	channel_fini(&d->hasher);
	if (d->have_waker)
		waker_fini(&d->waker);
	if (d->dns)
		dns_service_destroy(&d->dns);
	if (d->passwords)
		password_service_destroy(&d->passwords);
	tls_signer_destroy(&d->signer);
	if (d->store)
		shards_close(&d->store);
	if (d->have_messages)
		message_pool_fini();
	if (d->have_dataplane)
		dataplane_stop();
	log_flush();
	if (d->log_file >= 0)
		log_set_fd(STDERR_FILENO);
	if (d->log_file >= 0)
		close(d->log_file);
	d->log_file = -1;
}
