/*
 * output -- data, talk, JSON and the progress line of a command.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd/cmd_internal.h"

#define OUT_PIECE 16384 /* text is handed on in pieces of about this size */
#define PROGRESS_MS 200

static void
vput(struct buf *b, const char *fmt, va_list ap)
{
	char small[512], *text = small, *big = NULL;
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n >= (int)sizeof(small)) {
		n = vasprintf(&big, fmt, again);
		text = big;
	}
	va_end(again);
	if (n < 0)
		b->error = -ENOMEM;
	else
		buf_put(b, text, (size_t)n);
	free(big);
}

/*
 * Not in a mount, where text is made under the store's lock: a client that
 * reads slowly would stop every reader of the mount.
 */
static void
flush_piece(struct cmd *c)
{
	if (c->out.len >= OUT_PIECE && c->local == NULL)
		out_flush(c);
}

void
out_printf(struct cmd *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vput(&c->out, fmt, ap);
	va_end(ap);
	flush_piece(c);
}

void
out_flush(struct cmd *c)
{
	if (c->out.error != 0 && !c->out_failed) {
		c->out_failed = true;
		log_error("no memory for the output: it is not complete");
	}
	if (c->out.len != 0) {
		progress_clear(c);
		c->io->out(c->io->arg, (const char *)c->out.data, c->out.len);
	}
	buf_reset(&c->out);
}

void
err_line(struct cmd *c, const char *line)
{
	struct buf b = BUF_INIT;

	progress_clear(c);
	buf_put(&b, line, strlen(line));
	buf_put_u8(&b, '\n');
	if (b.error == 0)
		c->io->err(c->io->arg, (const char *)b.data, b.len);
	buf_fini(&b);
}

/* ---- JSON (RFC 8259) ---- */

/*
 * Length of the well-formed UTF-8 character at s (RFC 3629), 0 when there is
 * none.
 */
static size_t
utf8_char(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = p[0] < 0x80            ? 1
	    : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
	    : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
	    : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
					  : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return (0);
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return (0);
	return (n);
}

void
json_quote(struct buf *b, const char *s)
{
	size_t n;

	buf_put_u8(b, '"');
	for (; *s != '\0'; s += n) {
		n = utf8_char(s);
		if (n == 0) {
			buf_put(b, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (*s == '"' || *s == '\\') {
			buf_put_u8(b, '\\');
			buf_put(b, s, 1);
		} else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			buf_printf(b, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			buf_put(b, s, n);
	}
	buf_put_u8(b, '"');
}

void
json_begin(struct json *j, const char *event)
{
	buf_init(&j->b);
	buf_put(&j->b, "{\"event\":", 9);
	json_quote(&j->b, event);
}

static void
json_key(struct json *j, const char *key)
{
	buf_put_u8(&j->b, ',');
	json_quote(&j->b, key);
	buf_put_u8(&j->b, ':');
}

void
json_str(struct json *j, const char *key, const char *value)
{
	json_key(j, key);
	if (value == NULL)
		buf_put(&j->b, "null", 4);
	else
		json_quote(&j->b, value);
}

void
json_int(struct json *j, const char *key, int64_t value)
{
	json_key(j, key);
	buf_printf(&j->b, "%lld", (long long)value);
}

void
json_uint(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	buf_printf(&j->b, "%llu", (unsigned long long)value);
}

void
json_bool(struct json *j, const char *key, bool value)
{
	json_key(j, key);
	buf_printf(&j->b, "%s", value ? "true" : "false");
}

void
json_end(struct cmd *c, struct json *j)
{
	buf_put(&j->b, "}\n", 2);
	if (j->b.error != 0)
		c->out.error = j->b.error;
	else
		buf_put(&c->out, j->b.data, j->b.len);
	buf_fini(&j->b);
	flush_piece(c);
}

void
json_summary(struct cmd *c, int status)
{
	struct json j;

	json_begin(&j, "summary");
	json_int(&j, "status", status);
	json_end(c, &j);
}

/* ---- progress ---- */

static void
progress_put(struct cmd *c, const char *text, size_t n)
{
	if (c->io->progress != NULL)
		c->io->progress(c->io->arg, text, n);
	else
		c->io->err(c->io->arg, text, n);
}

void
progress_clear(struct cmd *c)
{
	struct buf b = BUF_INIT;

	if (c->progress_width == 0)
		return;
	buf_printf(&b, "\r%*s\r", (int)c->progress_width, "");
	c->progress_width = 0;
	if (b.error == 0)
		progress_put(c, (const char *)b.data, b.len);
	buf_fini(&b);
}

void
progress_begin(struct progress *p, struct cmd *c, uint64_t mailboxes)
{
	p->c = c;
	p->mailboxes = mailboxes;
	p->mailboxes_done = 0;
	p->begun = cmd_mono_ms();
}

void
progress_show(struct progress *p, const char *mailbox, uint64_t done,
    uint64_t total, uint64_t bytes)
{
	struct cmd *c = p->c;
	struct buf b = BUF_INIT;
	char size[16], rate[16];
	int64_t now = cmd_mono_ms(), ms = now - p->begun;
	uint64_t left;
	size_t width;

	if (!c->progress_wanted ||
	    (c->progress_shown != 0 && now - c->progress_shown < PROGRESS_MS))
		return;
	c->progress_shown = now;
	buf_printf(&b, "\rmailbox %llu/%llu %.30s %llu/%llu messages %s",
	    (unsigned long long)(p->mailboxes_done + 1),
	    (unsigned long long)(p->mailboxes > p->mailboxes_done
		    ? p->mailboxes
		    : p->mailboxes_done + 1),
	    mailbox, (unsigned long long)done, (unsigned long long)total,
	    bytes_text(bytes, size));
	if (ms > 1000) {
		buf_printf(
		    &b, " %s/s", bytes_text(bytes * 1000 / (uint64_t)ms, rate));
		if (done > 0 && done <= total) {
			left = (uint64_t)ms / 1000 * (total - done) / done;
			buf_printf(&b, " ETA %llu:%02u",
			    (unsigned long long)(left / 60),
			    (unsigned)(left % 60));
		}
	}
	width = b.len;
	if (width < c->progress_width)
		buf_printf(&b, "%*s", (int)(c->progress_width - width), "");
	if (b.error == 0) {
		progress_put(c, (const char *)b.data, b.len);
		c->progress_width = width;
	}
	buf_fini(&b);
}
