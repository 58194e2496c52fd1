/* Drives a reader of C, compiled with it. readers_test.go has the protocol. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

extern json_t *verify(const char *token, const char **reason);

int main(void)
{
    char *token = NULL;
    size_t size = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready " VERSION);
    while (getline(&token, &size, stdin) > 0) {
        const char *reason = "no reason";
        token[strcspn(token, "\n")] = 0;
        json_t *claims = verify(token, &reason);
        if (claims)
            printf("ok %s\n", json_string_value(json_object_get(claims, "sub")));
        else
            printf("refused %s\n", reason);
        json_decref(claims);
    }
    free(token);
    return 0;
}
