/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Servers differ in what they let through beside ASCII, and refuse line ends that are none (RFC
 * 5321, 2.3.8), so there is neither: a subject that is no plain text is encoded (RFC 2047), a text
 * is base64 then (RFC 2045, 6.8). That also keeps what a rule is called out of the header.
 */
#include "lib/xregistry/alert/mail.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/base64.h"
#include "lib/util/utf8.h"

#define WORD_BYTES 45u /* of an encoded word, which has at most 75 characters */
#define LINE_CHARS 76u /* of base64 */

/* Printable ASCII, and line ends where they are `allowed`. */
static bool is_plain(const char *text, const char *allowed)
{
	for (; *text != '\0'; text++) {
		if ((*text < ' ' || *text > '~') && strchr(allowed, *text) == NULL) {
			return false;
		}
	}
	return true;
}

/* How many bytes fit into a word, without cutting a character. */
static size_t word_len(const char *text)
{
	size_t left = strlen(text), len = 0, step;
	uint32_t code;

	while (len < left) {
		step = xu_utf8_char(text + len, left - len, &code);
		step = step != 0 ? step : 1;
		if (len + step > WORD_BYTES) {
			break;
		}
		len += step;
	}
	return len;
}

static bool write_subject(FILE *out, const char *subject)
{
	if (is_plain(subject, "") && strstr(subject, "=?") == NULL) {
		fprintf(out, "Subject: %s\r\n", subject);
		return true;
	}
	fputs("Subject:", out);
	while (*subject != '\0') {
		size_t len = word_len(subject);
		char *word = xu_base64_encode(subject, len);

		if (word == NULL) {
			return false;
		}
		fprintf(out, " =?UTF-8?B?%s?=\r\n", word);
		free(word);
		subject += len;
	}
	return true;
}

static bool write_encoded(FILE *out, const char *text)
{
	char *encoded = xu_base64_encode(text, strlen(text));

	if (encoded == NULL) {
		return false;
	}
	for (size_t i = 0, len = strlen(encoded); i < len; i += LINE_CHARS) {
		fprintf(out, "%.*s\r\n", (int)LINE_CHARS, encoded + i);
	}
	free(encoded);
	return true;
}

static void write_lines(FILE *out, const char *text)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		fprintf(out, "%.*s\r\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static bool write_mail(FILE *out, const struct xreg__mail *mail)
{
	bool is_text_plain = is_plain(mail->text, "\n");
	const char *at_sign = strrchr(mail->from, '@');
	const char *domain = at_sign != NULL ? at_sign + 1 : "localhost";
	time_t at = (time_t)(mail->at_ms / 1000);
	char date[64];
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	fprintf(out, "Date: %s\r\nFrom: %s\r\nTo: %s\r\nMessage-ID: <%s@%.*s>\r\n", date,
		mail->from, mail->to, mail->id, (int)strcspn(domain, ">"), domain);
	if (!write_subject(out, mail->subject)) {
		return false;
	}
	fprintf(out,
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: %s\r\n\r\n",
		is_text_plain ? "7bit" : "base64");
	if (!is_text_plain) {
		return write_encoded(out, mail->text);
	}
	write_lines(out, mail->text);
	return true;
}

char *xreg__mail_write(const struct xreg__mail *mail)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool is_good = out != NULL && write_mail(out, mail);

	if (out != NULL && fclose(out) != 0) {
		is_good = false;
	}
	if (!is_good) {
		free(text);
		text = NULL;
	}
	return text;
}
