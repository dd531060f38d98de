/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/routes.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "smtp/saslprep.h"

struct login {
	struct sasl_login public; /* what the rows point to */
	char user[SASL_USER_MAX + 1];
	char password[SASL_PASSWORD_MAX + 1];
};

struct making {
	struct routes *routes;
	unsigned row;
	char *error;
	size_t error_n;
};

static int fail(const struct making *m, const char *path, const char *problem, int err)
{
	snprintf(m->error, m->error_n, "key relay.routes[%u].password_file: %s: %s", m->row, path,
		problem);
	return err;
}

/* In the form in which the server has it (RFC 5802 5.1), in place. */
static bool prepare(char *text, size_t cap)
{
	char memory[SASLPREP_MAX];
	struct buf out;

	buf_init(&out, memory, cap - 1);
	bool ok = saslprep(bytes_str(text), SASLPREP_QUERY, &out) == 0;
	if (ok) {
		memcpy(text, memory, out.n);
		text[out.n] = '\0';
	}
	explicit_bzero(memory, sizeof(memory));
	return ok;
}

/* The first line.  A password that others can read is none. */
static int read_password(const struct making *m, const char *path, int fd, struct login *l)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(m, path, strerror(errno), -errno);
	if (!S_ISREG(st.st_mode))
		return fail(m, path, "is no file", -EINVAL);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return fail(m, path, "others than its owner have rights to it (chmod 600)", -EPERM);
	ssize_t n = read(fd, l->password, sizeof(l->password));
	if (n < 0)
		return fail(m, path, strerror(errno), -errno);
	const char *end = memchr(l->password, '\n', (size_t)n);
	if (!end && n == (ssize_t)sizeof(l->password))
		return fail(m, path, "the password is too long", -EINVAL);
	l->password[end ? end - l->password : n] = '\0';
	if (!l->password[0])
		return fail(m, path, "has no password", -EINVAL);
	return prepare(l->password, sizeof(l->password))
		       ? 0
		       : fail(m, path, "has characters that no password may have (RFC 4013)",
				 -EINVAL);
}

static int login_make(const struct making *m, const struct config_route *r, struct login *l)
{
	int fd = open(r->password_file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail(m, r->password_file, strerror(errno), -errno);
	int err = read_password(m, r->password_file, fd, l);
	close(fd);
	snprintf(l->user, sizeof(l->user), "%s", r->user);
	l->public = (struct sasl_login){.user = l->user, .password = l->password};
	if (err == 0 && !prepare(l->user, sizeof(l->user))) {
		snprintf(m->error, m->error_n,
			"key relay.routes[%u].user: has characters that no name may have (RFC "
			"4013)",
			m->row);
		err = -EINVAL;
	}
	return err;
}

static void hop_make(const struct config_root *c, const struct config_route *r, struct hop *h)
{
	*h = (struct hop){.domain = r->domain,
		.host = r->host[0] ? r->host : NULL,
		.transport = (uint8_t)r->transport,
		.level = (uint8_t)(r->tls ? r->tls - 1 : c->delivery.tls),
		.names = r->names.v,
		.name_count = r->names.n};
}

int routes_make(const struct config *c, struct routes *r, char *error, size_t error_n)
{
	const struct config_relay *relay = &c->root.relay;
	struct making m = {.routes = r, .error = error, .error_n = error_n};
	int err = 0;

	*r = (struct routes){.hops = calloc(relay->routes_n + 1, sizeof(*r->hops)),
		.logins = calloc(relay->routes_n + 1, sizeof(*r->logins))};
	if (!r->hops || !r->logins) {
		snprintf(error, error_n, "key relay.routes: out of memory");
		return -ENOMEM;
	}
	for (; m.row < relay->routes_n && err == 0; m.row++) {
		struct login *l = &r->logins[m.row];
		struct hop *h = &r->hops[r->count++];
		hop_make(&c->root, &relay->routes[m.row], h);
		if (!relay->routes[m.row].user[0])
			continue;
		err = login_make(&m, &relay->routes[m.row], l);
		h->login = &l->public;
	}
	return err;
}

void routes_free(struct routes *r)
{
	if (r->logins)
		explicit_bzero(r->logins, (r->count + 1) * sizeof(*r->logins));
	free(r->logins);
	free(r->hops);
	*r = (struct routes){0};
}
