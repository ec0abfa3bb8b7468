// Looks one reading up. Without scripts the page still links to all of them.
const form = document.getElementById("lookup");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = form.querySelector("output");
  const name = `${form.day.value}T${form.hour.value.padStart(2, "0")}.txt`;
  try {
    const response = await fetch(`readings/${name}`);
    output.textContent = response.ok ? (await response.text()).trim() : `No reading for that hour (${response.status}).`;
  } catch (error) {
    output.textContent = `The reading could not be fetched: ${error.message}`;
  }
});
