/* SPDX-License-Identifier: BSD-3-Clause
 * The composition of one core: a channel to each thread that each of its roles asks, the roles
 * themselves, their listeners. */
#include "store/control/agent.h"
#include "store/control/convert.h"
#include "store/control/certificates.h"
#include "store/control/telemetry.h"
#include <errno.h>

struct making {
	struct daemon *d;
	struct core_rooms *r;
	char *error;
	size_t error_n;
};

static int fail(struct making *m, int err, const char *what)
{
	snprintf(m->error, m->error_n, "core %u: cannot make %s: %s", m->r->core->index, what,
		strerror(-err));
	return err;
}

/* One channel from the core to a service, with ring_size credits. */
static int join(struct making *m, struct channel *ch, const char *what, struct service *service)
{
	struct core *core = m->r->core;
	char name[20];

	snprintf(name, sizeof(name), "c%u.%s", core->index, what);
	int err = channel_init(ch, name, (uint32_t)m->d->config->root.cores.ring_size, &core->waker,
		&service->waker, core->socket);
	if (err == 0)
		err = service_add(service, ch);
	if (err == 0)
		err = core_add_channel(core, ch);
	return err < 0 ? fail(m, err, name) : 0;
}

/* "dlv.wr" of shard 0, "dlv.wr.s1" and so on. */
static void shard_name(char *out, size_t cap, const char *what, unsigned shard)
{
	snprintf(out, cap, shard ? "%s.s%u" : "%s", what, shard);
}

static unsigned reader_count(const struct daemon *d)
{
	return store_reader_count(shards_get(d->store, 0));
}

static int join_writer(struct making *m, struct channel *ch, const char *what, unsigned shard)
{
	char name[20];

	shard_name(name, sizeof(name), what, shard);
	return join(m, ch, name, store_writer(shards_get(m->d->store, shard)));
}

static int join_readers(
	struct making *m, struct channel *channels, const char *what, unsigned shard)
{
	char name[16], full[20];
	int err = 0;

	for (unsigned i = 0; i < reader_count(m->d) && err == 0; i++) {
		snprintf(name, sizeof(name), "%s%u", what, i);
		shard_name(full, sizeof(full), name, shard);
		err = join(m, &channels[i], full, store_reader(shards_get(m->d->store, shard), i));
	}
	return err;
}

/* Sessions of TLS, for those who accept and those who connect. */
static int make_tls(struct making *m)
{
	struct core_rooms *r = m->r;
	const struct config_root *c = &m->d->config->root;
	uint64_t sessions = 0;

	if (r->core->roles & CORE_DATAPLANE)
		sessions += c->limits.smtp_sessions;
	if (r->core->roles & CORE_DELIVERY)
		sessions += c->delivery.connections;
	if (r->core->roles & CORE_CONTROL)
		sessions += c->limits.pop3_sessions + c->limits.imap_sessions;
	if (sessions == 0)
		return 0;
	r->tls_config = certificates_tls(m->d->certificates, m->error, m->error_n);
	if (!r->tls_config)
		return -EINVAL;
	r->tls = tls_create((uint32_t)MIN(sessions, c->limits.connections));
	int err = r->tls ? core_add_poller(r->core, (struct poller){tls_poll, r->tls}) : -ENOMEM;
	if (err < 0)
		return fail(m, err, "TLS");
	err = join(m, &r->signer, "signer", tls_signer_server(m->d->signer));
	if (err == 0)
		tls_use_signer(r->tls, &r->signer);
	return err;
}

static int make_authenticator(struct making *m)
{
	struct daemon *d = m->d;
	struct core_rooms *r = m->r;

	int err = join(m, &r->auth_passwords, "auth.pw", password_service_server(d->passwords));
	r->logins = (struct access){.core = r->core,
		.shard_count = shards_count(d->store),
		.reader_count = reader_count(d),
		.passwords = &r->auth_passwords,
		.directory = shards_directory(d->store)};
	for (unsigned s = 0; s < r->logins.shard_count && err == 0; s++) {
		err = join_readers(m, r->shards[s].auth_readers, "auth.rd", s);
		for (unsigned i = 0; i < r->logins.reader_count; i++)
			r->logins.readers[s][i] = &r->shards[s].auth_readers[i];
	}
	if (err < 0)
		return err;
	r->authenticator = store_authenticator_create(&r->logins, shards_secret(m->d->store));
	return r->authenticator ? 0 : fail(m, -ENOMEM, "the authenticator");
}

static bool wants_auth(const struct smtp_server_conf *conf)
{
	for (unsigned i = 0; i < conf->service_count; i++) {
		if (conf->services[i].auth)
			return true;
	}
	return false;
}

static int join_smtp_writers(struct making *m, struct handoff_lanes *out)
{
	const struct daemon *d = m->d;
	int err = 0;

	*out = (struct handoff_lanes){.count = shards_count(d->store)};
	for (unsigned s = 0; s < out->count && err == 0; s++) {
		out->writer[s] = &m->r->shards[s].smtp_writer;
		out->trouble[s] = shards_health(d->store, s);
		err = join_writer(m, out->writer[s], "smtp.wr", s);
	}
	return err;
}

static int make_smtp(struct making *m)
{
	struct daemon *d = m->d;
	struct smtp_server_conf conf;

	config_to_smtp(d->config, &conf);
	conf.ack_early = d->options.mutant_ack_early;
	conf.discard = d->options.discard;
	conf.tls = m->r->tls;
	conf.tls_config = m->r->tls_config;
	if (conf.service_count == 0)
		return 0;
	int err = wants_auth(&conf) ? make_authenticator(m) : 0;
	if (err < 0)
		return err;
	conf.authenticator = store_authenticator_public(m->r->authenticator);
	struct handoff_lanes writers;
	err = join_smtp_writers(m, &writers);
	if (err < 0)
		return err;
	m->r->smtp = smtp_server_create(m->r->core, &writers, &d->policy, &conf);
	if (!m->r->smtp)
		return fail(m, -ENOMEM, "the SMTP server");
	uint16_t port = 0;
	err = smtp_server_listen(m->r->smtp, &port);
	if (err < 0) {
		char what[64];
		snprintf(what, sizeof(what), "the SMTP listener on port %u (section listen)", port);
		return fail(m, err, what);
	}
	return 0;
}

static int make_hints(struct making *m, struct hints *h, const char *what, unsigned shard,
	int (*add)(struct store *s, struct hints *h))
{
	struct core *core = m->r->core;
	char of_shard[16], name[20];

	shard_name(of_shard, sizeof(of_shard), what, shard);
	snprintf(name, sizeof(name), "c%u.%s", core->index, of_shard);
	int err = hints_init(
		h, name, (uint32_t)m->d->config->root.cores.ring_size, &core->waker, core->socket);
	if (err == 0)
		err = add(shards_get(m->d->store, shard), h);
	return err < 0 ? fail(m, err, name) : 0;
}

static int join_delivery_shard(struct making *m, struct delivery_channels *ch, unsigned s)
{
	struct shard_channels *of = &m->r->shards[s];

	ch->writers[s] = &of->delivery_writer;
	ch->ready[s] = &of->ready;
	ch->health[s] = shards_health(m->d->store, s);
	for (unsigned i = 0; i < ch->reader_count; i++)
		ch->readers[s][i] = &of->delivery_readers[i];
	int err = join_writer(m, &of->delivery_writer, "dlv.wr", s);
	if (err == 0)
		err = join_readers(m, of->delivery_readers, "dlv.rd", s);
	return err == 0 ? make_hints(m, &of->ready, "ready", s, store_add_ready) : err;
}

static int make_delivery(struct making *m, unsigned worker, unsigned workers)
{
	struct daemon *d = m->d;
	struct core_rooms *r = m->r;
	struct delivery_conf conf;
	struct delivery_channels ch = {.shard_count = shards_count(d->store),
		.reader_count = reader_count(d),
		.dns = &r->delivery_dns};

	int err = join(m, &r->delivery_dns, "dlv.dns", dns_service_server(d->dns));
	for (unsigned s = 0; s < ch.shard_count && err == 0; s++)
		err = join_delivery_shard(m, &ch, s);
	if (err < 0)
		return err;
	config_to_delivery(d->config, shards_directory(d->store), d->own, &conf);
	conf.shares = d->shares;
	conf.hops = d->routes.hops;
	conf.hop_count = d->routes.count;
	conf.tls = r->tls;
	conf.tls_config = r->tls_config;
	r->delivery = delivery_create(r->core, &conf, &ch, worker, workers);
	return r->delivery ? 0 : fail(m, -ENOMEM, "the delivery worker");
}

static int join_access_shard(struct making *m, struct access *a, unsigned s)
{
	struct shard_channels *of = &m->r->shards[s];

	a->writers[s] = &of->access_writer;
	a->events[s] = &of->events;
	a->event_us[s] = store_event_stamps(shards_get(m->d->store, s));
	for (unsigned i = 0; i < a->reader_count; i++)
		a->readers[s][i] = &of->access_readers[i];
	int err = join_writer(m, &of->access_writer, "acc.wr", s);
	if (err == 0)
		err = join_readers(m, of->access_readers, "acc.rd", s);
	return err == 0 ? make_hints(m, &of->events, "events", s, store_add_events) : err;
}

static int make_access(struct making *m)
{
	struct daemon *d = m->d;
	struct core_rooms *r = m->r;

	int err = join(m, &r->passwords, "acc.pw", password_service_server(d->passwords));
	r->access = (struct access){.core = r->core,
		.shard_count = shards_count(d->store),
		.reader_count = reader_count(d),
		.passwords = &r->passwords,
		.directory = shards_directory(d->store),
		.tls = d->config->root.tls.certificates_n ? r->tls : NULL,
		.tls_config = r->tls_config};
	for (unsigned s = 0; s < r->access.shard_count && err == 0; s++)
		err = join_access_shard(m, &r->access, s);
	if (err < 0)
		return err;
	config_to_access(d->config, &r->access);
	return 0;
}

static int make_pop3(struct making *m)
{
	const struct config_root *c = &m->d->config->root;

	const struct access_ports ports = {(uint16_t)c->listen.pop3, (uint16_t)c->listen.pop3s};

	if (!ports.clear && !ports.tls)
		return 0;
	m->r->pop3 = pop3_server_create(&m->r->access, ports, (uint32_t)c->limits.pop3_sessions);
	if (!m->r->pop3)
		return fail(m, -ENOMEM, "the POP3 server");
	int err = pop3_server_listen(m->r->pop3);
	return err < 0 ? fail(m, err, "the POP3 listeners (keys listen.pop3, listen.pop3s)") : 0;
}

static int make_imap(struct making *m)
{
	const struct config_root *c = &m->d->config->root;

	const struct access_ports ports = {(uint16_t)c->listen.imap, (uint16_t)c->listen.imaps};

	if (!ports.clear && !ports.tls)
		return 0;
	m->r->imap = imap_server_create(&m->r->access, ports, (uint32_t)c->limits.imap_sessions);
	if (!m->r->imap)
		return fail(m, -ENOMEM, "the IMAP server");
	int err = imap_server_listen(m->r->imap);
	return err < 0 ? fail(m, err, "the IMAP listeners (keys listen.imap, listen.imaps)") : 0;
}

/* Main's questions. */
static int make_agent(struct making *m)
{
	struct core *core = m->r->core;
	char name[20];

	snprintf(name, sizeof(name), "main.c%u", core->index);
	int err = channel_init(
		&m->r->questions, name, AGENT_CREDITS, &m->d->waker, &core->waker, core->socket);
	if (err == 0)
		err = telemetry_join(m->d, core->index);
	return err < 0 ? fail(m, err, name) : agent_add(m->r);
}

static int make_core(struct making *m, unsigned *worker, unsigned workers)
{
	struct core *core = m->r->core;
	int err = make_agent(m);

	ids_init(&core->ids, core->index, shards_last_id(m->d->store));
	if (err == 0)
		err = make_tls(m);
	if (err == 0 && core->roles & CORE_DATAPLANE)
		err = make_smtp(m);
	if (err == 0 && core->roles & CORE_DELIVERY)
		err = make_delivery(m, (*worker)++, workers);
	if (err == 0 && core->roles & CORE_CONTROL)
		err = make_access(m);
	if (err == 0 && core->roles & CORE_CONTROL)
		err = make_pop3(m);
	if (err == 0 && core->roles & CORE_CONTROL)
		err = make_imap(m);
	return err;
}

/* Which cores own the connections to each service port. */
static int add_services(struct daemon *d, char *error, size_t error_n)
{
	const struct config_listen *l = &d->config->root.listen;
	const struct {
		uint64_t port;
		uint32_t role;
		const char *key;
	} services[] = {
		{l->smtp,        CORE_DATAPLANE, "listen.smtp"       },
		{l->submission,  CORE_DATAPLANE, "listen.submission" },
		{l->submissions, CORE_DATAPLANE, "listen.submissions"},
		{l->pop3,        CORE_CONTROL,   "listen.pop3"       },
		{l->pop3s,       CORE_CONTROL,   "listen.pop3s"      },
		{l->imap,        CORE_CONTROL,   "listen.imap"       },
		{l->imaps,       CORE_CONTROL,   "listen.imaps"      },
	};

	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		int err = services[i].port ? dataplane_add_service(
						     (uint16_t)services[i].port, services[i].role)
					   : 0;
		if (err < 0) {
			snprintf(error, error_n, "key %s: %s", services[i].key, strerror(-err));
			return err;
		}
	}
	return 0;
}

int rooms_create(struct daemon *d, char *error, size_t error_n)
{
	unsigned workers = 0, worker = 0;
	int err = add_services(d, error, error_n);

	if (err == 0)
		err = certificates_read(d->config, &d->certificates, error, error_n);
	if (err == 0)
		err = routes_make(d->config, &d->routes, error, error_n);

	for (unsigned i = 0; i < d->core_count; i++)
		workers += d->cores[i].roles & CORE_DELIVERY ? 1 : 0;
	if (workers > 1 && err == 0) {
		d->shares = delivery_shares_create();
		err = d->shares ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; i < d->core_count && err == 0; i++) {
		struct core_rooms *r = &d->rooms[i];
		*r = (struct core_rooms){.daemon = d, .core = &d->cores[i]};
		struct making m = {.d = d, .r = r, .error = error, .error_n = error_n};
		err = make_core(&m, &worker, workers);
	}
	certificates_destroy(&d->certificates);
	return err;
}

static void shard_fini(struct shard_channels *of)
{
	channel_fini(&of->smtp_writer);
	channel_fini(&of->delivery_writer);
	channel_fini(&of->access_writer);
	for (unsigned i = 0; i < STORE_READERS_MAX; i++) {
		channel_fini(&of->delivery_readers[i]);
		channel_fini(&of->access_readers[i]);
		channel_fini(&of->auth_readers[i]);
	}
	hints_fini(&of->ready);
	hints_fini(&of->events);
}

static void channels_fini(struct core_rooms *r)
{
	channel_fini(&r->questions);
	channel_fini(&r->telemetry);
	channel_fini(&r->delivery_dns);
	channel_fini(&r->passwords);
	channel_fini(&r->auth_passwords);
	channel_fini(&r->signer);
	for (unsigned i = 0; i < STORE_SHARDS_MAX; i++)
		shard_fini(&r->shards[i]);
}

void rooms_destroy(struct daemon *d)
{
	for (unsigned i = 0; i < d->core_count; i++) {
		struct core_rooms *r = &d->rooms[i];
		smtp_server_destroy(&r->smtp);
		delivery_destroy(&r->delivery);
		pop3_server_destroy(&r->pop3);
		imap_server_destroy(&r->imap);
		store_authenticator_destroy(&r->authenticator);
		tls_destroy(&r->tls);
		tls_config_destroy(&r->tls_config);
		tls_config_destroy(&r->tls_old);
		channels_fini(r);
	}
	routes_free(&d->routes);
	free(d->shares);
	d->shares = NULL;
}
