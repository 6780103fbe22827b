import java.time.Instant;
import java.util.Properties;
import java.util.UUID;

/** Prints what a build tool calls its build information. */
public final class Stamp {
    public static void main(String[] arguments) throws Exception {
        Properties stamp = new Properties();
        stamp.setProperty("built", Instant.now().toString());
        stamp.setProperty("id", UUID.randomUUID().toString());
        stamp.setProperty("process", Long.toString(ProcessHandle.current().pid()));
        stamp.setProperty("by", System.getProperty("user.name"));
        stamp.store(System.out, "generated");
    }
}
