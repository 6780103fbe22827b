import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import javax.tools.ToolProvider;

/** Builds modules side by side, as Maven does with -T 4, and logs what was ready when. */
public final class Build {
    private static final List<String> LOG = Collections.synchronizedList(new ArrayList<>());

    public static void main(String[] arguments) throws Exception {
        Path out = Path.of(arguments[0]);
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<?>> modules = new ArrayList<>();
        for (int number = 0; number < 12; number++) {
            int module = number;
            modules.add(pool.submit(() -> {
                build(out, "module" + module, 1 + module % 3);
                return null;
            }));
        }
        for (Future<?> module : modules) {
            module.get();
        }
        pool.shutdown();
        Files.write(out.resolve("build.log"), LOG);
    }

    private static void build(Path out, String name, int classes) throws IOException {
        Path directory = Files.createDirectories(Path.of("modules", name));
        List<String> sources = new ArrayList<>();
        for (int number = 0; number < classes; number++) {
            Path source = directory.resolve("Part" + number + ".java");
            Files.writeString(source, "public class Part" + number + " { int number = " + number + "; }");
            sources.add(source.toString());
        }
        if (ToolProvider.getSystemJavaCompiler().run(null, null, null, sources.toArray(String[]::new)) != 0) {
            throw new IOException("cannot compile " + name);
        }
        try (OutputStream file = Files.newOutputStream(out.resolve(name + ".jar"));
                JarOutputStream jar = new JarOutputStream(file)) {
            for (int number = 0; number < classes; number++) {
                jar.putNextEntry(new JarEntry("Part" + number + ".class"));
                jar.write(Files.readAllBytes(directory.resolve("Part" + number + ".class")));
                jar.closeEntry();
            }
        }
        LOG.add(Instant.now() + " " + name + " by " + Thread.currentThread().getName());
    }
}
